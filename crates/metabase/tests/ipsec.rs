//! The octets of RelayIpList: published values byte for byte, and every list there and back.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a panic is how a test fails")]

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use postroad_metabase::ipsec::{Lists, OCTETS_MAX, decode, encode, is_plain};
use proptest::prelude::*;

fn octets(hex: &str) -> Vec<u8> {
    let pairs = hex.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).unwrap());
    pairs.map(|pair| u8::from_str_radix(pair, 16).unwrap()).collect()
}

fn networks(texts: &[&str]) -> Vec<IpNet> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

/// A value with DWORDs in the places of some of its own.
fn patched(granted: &[&str], dwords: &[(usize, u32)]) -> Vec<u8> {
    let mut octets = encode(&networks(granted));
    for (at, dword) in dwords {
        octets[*at..at + 4].copy_from_slice(&dword.to_le_bytes());
    }
    octets
}

fn why(octets: &[u8]) -> &'static str {
    decode(octets).unwrap_err().0
}

#[test]
fn samples_are_read_and_written_byte_for_byte() {
    let samples: serde_json::Value =
        serde_json::from_str(include_str!("samples/relayiplist-blobs.json")).unwrap();
    let samples = samples["samples"].as_array().unwrap();
    assert_eq!(samples.len(), 4);
    for sample in samples {
        let value = octets(sample["hex"].as_str().unwrap());
        assert_eq!(value.len() as u64, sample["len"].as_u64().unwrap());
        let hosts = sample["ips"].as_array().unwrap().iter().map(|ip| format!("{}/32", ip.as_str().unwrap()));
        let hosts: Vec<IpNet> = hosts.map(|host| host.parse().unwrap()).collect();
        assert_eq!(decode(&value), Ok(Lists { granted: hosts.clone(), refused: vec![] }));
        assert_eq!(encode(&hosts), value);
        assert!(is_plain(&value));
    }
}

#[test]
fn no_octets_are_an_empty_list() {
    assert_eq!(decode(&[]), Ok(Lists::default()));
    assert!(is_plain(&[]));
}

#[test]
fn masks_are_groups_of_their_own() {
    let list =
        networks(&["10.0.0.0/8", "192.0.2.1/32", "172.16.0.0/12", "192.0.2.2/32", "::1/128", "fe80::/10"]);
    let value = encode(&list);
    let grouped =
        networks(&["10.0.0.0/8", "192.0.2.1/32", "192.0.2.2/32", "172.16.0.0/12", "::1/128", "fe80::/10"]);
    assert_eq!(decode(&value).unwrap().granted, grouped);
    assert!(is_plain(&value));
}

#[test]
fn the_other_polarity_is_told_apart() {
    // The two lists change places.
    let value = patched(&["192.0.2.1/32"], &[(0, 0x8000_0020), (4, 0x8000_0018)]);
    let lists = decode(&value).unwrap();
    assert_eq!((lists.granted, lists.refused), (vec![], networks(&["192.0.2.1/32"])));
    assert!(!is_plain(&value));
}

#[test]
fn what_does_not_fit_is_refused() {
    let one = &["192.0.2.1/32"];
    assert_eq!(why(&patched(one, &[(16, 2)])), "its flags are not 1");
    assert_eq!(why(&patched(one, &[(8, 60)])), "an offset is missing");
    assert_eq!(why(&patched(one, &[(60, 1)])), "it lists names");
    assert_eq!(why(&patched(one, &[(32, 257)])), "it has too many groups");
    assert_eq!(why(&patched(one, &[(36, 2)])), "its number of addresses is another one than it says");
    assert_eq!(why(&patched(one, &[(40, 17)])), "an address family is unknown");
    assert_eq!(why(&patched(one, &[(44, 0)])), "a group has no mask");
    assert_eq!(why(&patched(one, &[(44, 0x4000_0001)])), "it ends too soon");
    assert_eq!(why(&patched(one, &[(76, 0x00ff_00ff)])), "a mask has holes");
    assert_eq!(why(&patched(one, &[(0, 0xffff_ffff)])), "it ends too soon");
    assert_eq!(why(&vec![0; OCTETS_MAX + 1]), "it is too long");
    let whole = encode(&networks(one));
    for length in 1..whole.len() {
        assert!(decode(&whole[..length]).is_err(), "{length} octets");
    }
}

/// 256 groups that all point at the same addresses would be 256 times as many of them.
#[test]
fn groups_that_share_their_addresses_are_refused() {
    let groups = 256_u32;
    let items = 10_000_u32;
    let names = 32 + 8 + 20 * groups;
    let mut words =
        vec![0x8000_0018, 0x8000_0020, names | 1 << 31, (names + 8) | 1 << 31, 1, names + 16, 0, 0];
    words.extend([groups, groups * (items - 1)]);
    for _ in 0..groups {
        words.extend([2, items, 4, 0, (names + 16) | 1 << 31]);
    }
    words.extend([0; 4]);
    words.push(u32::MAX);
    words.extend(vec![0; items as usize - 1]);
    let value: Vec<u8> = words.into_iter().flat_map(u32::to_le_bytes).collect();
    assert_eq!(why(&value), "it has more addresses than there is room for");
}

fn network() -> impl Strategy<Value = IpNet> {
    let v4 = (any::<u32>(), 0..=32_u8)
        .prop_map(|(address, prefix)| IpNet::V4(Ipv4Net::new(address.into(), prefix).unwrap().trunc()));
    let v6 = (any::<u128>(), 0..=128_u8)
        .prop_map(|(address, prefix)| IpNet::V6(Ipv6Net::new(address.into(), prefix).unwrap().trunc()));
    prop_oneof![v4, v6]
}

proptest! {
    #[test]
    fn every_list_there_and_back(list in prop::collection::vec(network(), 0..300)) {
        let value = encode(&list);
        prop_assert!(is_plain(&value));
        let lists = decode(&value).unwrap();
        prop_assert!(lists.refused.is_empty());
        let (mut before, mut after) = (list, lists.granted);
        before.sort();
        after.sort();
        prop_assert_eq!(before, after);
    }

    #[test]
    fn any_octets_are_read_or_refused(value in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = (decode(&value), is_plain(&value));
    }

    /// Octets that begin as a value does get further than those that do not.
    #[test]
    fn a_value_with_a_wrong_octet_is_read_or_refused(
        list in prop::collection::vec(network(), 0..20),
        at in any::<prop::sample::Index>(),
        octet in any::<u8>(),
    ) {
        let mut value = encode(&list);
        let at = at.index(value.len());
        value[at] = octet;
        if let Ok(lists) = decode(&value) {
            prop_assert!(lists.granted.len() + lists.refused.len() <= value.len() / 2);
        }
    }
}
