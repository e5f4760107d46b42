//! The octets of RelayIpList: what is read and written again says the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use postroad_metabase::ipsec;

fuzz_target!(|data: &[u8]| {
    let Ok(lists) = ipsec::decode(data) else { return };
    let mut again = ipsec::decode(&ipsec::encode(&lists.granted)).unwrap().granted;
    let mut granted = lists.granted;
    granted.sort();
    again.sort();
    assert_eq!(again, granted);
});
