//! The octets of RelayIpList: what is read and written again says the same, octet by octet where it was written as we do.
#![no_main]

use libfuzzer_sys::fuzz_target;
use postroad_metabase::ipsec;

fuzz_target!(|data: &[u8]| {
    let Ok(lists) = ipsec::decode(data) else { return };
    let octets = ipsec::encode(&lists.granted);
    assert!(ipsec::is_plain(&octets));
    if ipsec::is_plain(data) && !data.is_empty() {
        assert_eq!(octets, data);
    }
    let mut again = ipsec::decode(&octets).unwrap().granted;
    assert_eq!(ipsec::encode(&again), octets);
    // Those under one mask stand together afterwards.
    let mut granted = lists.granted;
    granted.sort();
    again.sort();
    assert_eq!(again, granted);
});
