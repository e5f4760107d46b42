//! A name server as the founding case had it: what does not fit into a datagram is cut, and TCP is not answered.
//!
//! With EDNS it sends a truncated answer without a record, as servers do today; without EDNS it sends what fits into 512
//! octets, another part each time, as BIND does. TCP to its port is refused until `open_tcp`.

use domain::base::iana::Rcode;
use domain::base::{Message, MessageBuilder, Name, Rtype, TreeCompressor, Ttl};
use domain::rdata::{A, Mx};
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// Hosts of each domain's MX set: the answer has about 1,350 octets.
pub(super) const HOSTS: usize = 56;
/// How often a thread looks whether it is to end.
const LOOK: Duration = Duration::from_millis(50);
const TTL: Ttl = Ttl::from_secs(300);

/// The server; it ends when dropped.
pub(super) struct NameServer {
    pub(super) address: SocketAddr,
    stop: Arc<AtomicBool>,
    turn: Arc<AtomicUsize>,
    threads: Vec<JoinHandle<()>>,
}

impl NameServer {
    /// Starts it on a free port of loopback.
    pub(super) fn start() -> io::Result<Self> {
        // The port must be free for TCP too: it is taken, and left again, so that TCP is refused.
        let tcp = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = tcp.local_addr()?;
        let socket = UdpSocket::bind(address)?;
        drop(tcp);
        socket.set_read_timeout(Some(LOOK))?;
        let stop = Arc::new(AtomicBool::new(false));
        let turn = Arc::new(AtomicUsize::new(0));
        let (stopped, turns) = (Arc::clone(&stop), Arc::clone(&turn));
        let udp = std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while !stopped.load(Ordering::Relaxed) {
                if let Ok((octets, client)) = socket.recv_from(&mut buffer)
                    && let Some(answer) =
                        answer(&buffer[..octets], turns.fetch_add(1, Ordering::Relaxed), true)
                {
                    let _ = socket.send_to(&answer, client);
                }
            }
        });
        Ok(Self { address, stop, turn, threads: vec![udp] })
    }

    /// From here on TCP is answered.
    pub(super) fn open_tcp(&mut self) -> io::Result<()> {
        let listener = TcpListener::bind(self.address)?;
        listener.set_nonblocking(true)?;
        let (stop, turn) = (Arc::clone(&self.stop), Arc::clone(&self.turn));
        self.threads.push(std::thread::spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                match listener.accept() {
                    Ok((stream, _)) => {
                        let (stop, turn) = (Arc::clone(&stop), Arc::clone(&turn));
                        std::thread::spawn(move || serve_tcp(stream, &stop, &turn));
                    }
                    Err(_) => std::thread::sleep(LOOK),
                }
            }
        }));
        Ok(())
    }
}

impl Drop for NameServer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

fn serve_tcp(mut stream: std::net::TcpStream, stop: &AtomicBool, turn: &AtomicUsize) {
    let _ = stream.set_nonblocking(false);
    let _ = stream.set_read_timeout(Some(Duration::from_secs(5)));
    while !stop.load(Ordering::Relaxed) {
        let mut length = [0; 2];
        if stream.read_exact(&mut length).is_err() {
            return;
        }
        let mut query = vec![0; usize::from(u16::from_be_bytes(length))];
        if stream.read_exact(&mut query).is_err() {
            return;
        }
        let Some(answer) = answer(&query, turn.fetch_add(1, Ordering::Relaxed), false) else { return };
        let mut framed = u16::try_from(answer.len()).unwrap_or(0).to_be_bytes().to_vec();
        framed.extend_from_slice(&answer);
        if stream.write_all(&framed).is_err() {
            return;
        }
    }
}

/// The answer to a query: 56 hosts for every `*.example` that is no host itself, each at 127.0.0.1.
fn answer(query: &[u8], turn: usize, datagram: bool) -> Option<Vec<u8>> {
    let query = Message::from_octets(query).ok()?;
    let question = query.sole_question().ok()?;
    let name = question.qname().to_string().to_ascii_lowercase();
    let edns = query.opt().is_some();
    let full = build(&query, &question, &name, 0, HOSTS, false)?;
    let limit = match (datagram, edns) {
        (false, _) => usize::from(u16::MAX),
        (true, true) => 1232,
        (true, false) => 512,
    };
    if full.len() <= limit {
        return Some(full);
    }
    if edns {
        return build(&query, &question, &name, 0, 0, true);
    }
    // As many as fit, beginning with another host each time.
    let fitting = |count: &usize| {
        build(&query, &question, &name, turn * 7, *count, true).is_some_and(|a| a.len() <= limit)
    };
    let count = (1..HOSTS).take_while(fitting).last().unwrap_or(0);
    build(&query, &question, &name, turn * 7, count, true)
}

fn build(
    query: &Message<&[u8]>,
    question: &domain::base::Question<domain::base::ParsedName<&[u8]>>,
    name: &str,
    first: usize,
    count: usize,
    truncated: bool,
) -> Option<Vec<u8>> {
    let is_host = name.starts_with("mail-");
    let known = name.ends_with(".example");
    let rcode = if known { Rcode::NOERROR } else { Rcode::NXDOMAIN };
    let target = TreeCompressor::new(Vec::new());
    let mut answer = MessageBuilder::from_target(target).ok()?.start_answer(query, rcode).ok()?;
    answer.header_mut().set_ra(true);
    answer.header_mut().set_aa(true);
    answer.header_mut().set_tc(truncated);
    match question.qtype() {
        Rtype::MX if known && !is_host => {
            for index in (first..first + count).map(|index| index % HOSTS) {
                let host: Name<Vec<u8>> = format!("mail-{index:02}.{name}").parse().ok()?;
                let preference = if index == 0 { 10 } else { 20 };
                answer.push((question.qname(), TTL, Mx::new(preference, host))).ok()?;
            }
        }
        Rtype::A if is_host => {
            answer.push((question.qname(), TTL, A::from(Ipv4Addr::LOCALHOST))).ok()?;
        }
        _ => {}
    }
    if query.opt().is_some() {
        let mut additional = answer.additional();
        additional
            .opt(|opt| {
                opt.set_udp_payload_size(1232);
                Ok(())
            })
            .ok()?;
        return Some(additional.finish().into_target());
    }
    Some(answer.finish().into_target())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(name: &str, rtype: Rtype, edns: bool) -> Vec<u8> {
        let name: Name<Vec<u8>> = name.parse().unwrap();
        let mut builder = MessageBuilder::new_vec().question();
        builder.push((name, rtype)).unwrap();
        let mut builder = builder.additional();
        if edns {
            builder
                .opt(|opt| {
                    opt.set_udp_payload_size(1232);
                    Ok(())
                })
                .unwrap();
        }
        builder.finish()
    }

    /// (octets, TC, answers)
    fn ask(name: &str, rtype: Rtype, edns: bool, datagram: bool) -> (usize, bool, u16) {
        let answer = answer(&query(name, rtype, edns), 3, datagram).unwrap();
        let message = Message::from_octets(answer.as_slice()).unwrap();
        (answer.len(), message.header().tc(), message.header_counts().ancount())
    }

    #[test]
    fn it_cuts_as_the_founding_case_has_it() {
        let (octets, truncated, hosts) = ask("zero.example", Rtype::MX, true, false);
        assert!(
            (1300..1400).contains(&octets) && !truncated && usize::from(hosts) == HOSTS,
            "{octets} {hosts}"
        );
        let (_, truncated, hosts) = ask("zero.example", Rtype::MX, true, true);
        assert!(truncated && hosts == 0);
        let (octets, truncated, hosts) = ask("zero.example", Rtype::MX, false, true);
        assert!(truncated && hosts > 5 && octets <= 512, "{octets} {hosts}");
        assert_eq!(ask("mail-03.zero.example", Rtype::A, true, true).2, 1);
    }
}
