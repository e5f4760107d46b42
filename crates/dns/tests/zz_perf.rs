use postroad_dns::{answer::*, policy::*, resolver::*, settings::*};
use postroad_mail::time::*;
use std::time::*;
#[test]
fn perf() {
    let s: std::net::SocketAddr = "192.0.2.53:53".parse().unwrap();
    let mut r = Resolver::new(Settings { servers: vec![s], ..Settings::default() }, [1; 32]);
    let mut now = Now { mono: Mono(1), wall: Wall(0) };
    let n = 100_000u64;
    let t = Instant::now();
    let mut found = 0; let mut sent = 0u64;
    for i in 0..n {
        now = now.later(Duration::from_micros(100));
        let q = Question::NextHop(format!("d{i}.example").parse().unwrap());
        let mut inp = vec![Input::Find { id: LookupId(i), question: q, policy: Policy::Adaptive }];
        while let Some(x) = inp.pop() {
            r.handle(now, x);
            while let Some(o) = r.poll() { match o {
                Output::SendDatagram { server, slot, bytes } => { sent += 1;
                    let e = 12 + bytes[12..].iter().position(|b| *b == 0).unwrap() + 5;
                    let mut m = bytes[..e].to_vec(); m[2] = 0x81; m[3] = 0x80; m[7] = 1; m[11] = 0;
                    match m[e - 3] { 15 => m.extend([0xc0, 12, 0, 15, 0, 1, 0, 0, 1, 0, 0, 7, 0, 10, 2, b'm', b'x', 0xc0, 12]),
                      1 => m.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 1, 0, 0, 4, 1, 2, 3, 4]),
                      _ => m.extend([0xc0, 12, 0, 28, 0, 1, 0, 0, 1, 0, 0, 16, 1, 2, 3, 4, 5, 6, 7, 8, 1, 2, 3, 4, 5, 6, 7, 8]) }
                    inp.push(Input::Datagram { server, slot, bytes: m }); }
                Output::Found { answer, .. } => { found += 1; assert!(matches!(answer.verdict, Verdict::Hosts(_))); }
                _ => {} } }
        }
    }
    println!("fresh: {:?} a next hop, {:?} a query", t.elapsed() / n as u32, t.elapsed() / sent as u32);
    assert_eq!(found, n);
    let t = Instant::now();
    for i in 0..n { let q = Question::NextHop(format!("d{}.example", n - 1 - i % 1000).parse().unwrap());
        r.handle(now, Input::Find { id: LookupId(i), question: q, policy: Policy::Adaptive }); while let Some(o) = r.poll() { if let Output::Found { answer, .. } = o { assert!(answer.from_cache) } } }
    println!("cached: {:?}", t.elapsed() / n as u32);
    let m = std::fs::read_to_string("/proc/self/status").unwrap(); println!("{}", m.lines().find(|l| l.starts_with("RssAnon")).unwrap());
}
