//! Peers that break off at the worst moment, or come in crowds.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use postroad_tests::load::{Session, content};
use postroad_tests::ports::Port;
use postroad_tests::postroad::{Config, NAME, Postroad};
use postroad_tests::wait;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

/// A host that resets its first connection just behind its answer to EHLO, where the envelope is about to be written: the message
/// is tried again.
#[test]
fn a_host_that_resets_before_the_envelope() {
    let port = Port::free();
    let listener = TcpListener::bind(("127.0.0.31", port.number())).unwrap();
    let config = Config { remote_port: port.number(), ..Config::default() };
    let postroad = Postroad::start(&config);
    let host = std::thread::spawn(move || {
        let (mut first, _) = listener.accept().unwrap();
        first.write_all(b"220 host.example\r\n").unwrap();
        // EHLO is there and is left unread: so the close is a reset.
        first.peek(&mut [0]).unwrap();
        first.write_all(b"250-host.example\r\n250 PIPELINING\r\n").unwrap();
        drop(first);
        take_one(&listener)
    });
    let mut session = Session::open(postroad.address()).unwrap();
    session.message("s@sender.example", "r@[127.0.0.31]", &content("1", 1000)).unwrap();
    postroad.wait_drained(wait::PATIENCE);
    assert_eq!(host.join().unwrap(), "<r@[127.0.0.31]>");
}

/// A host that hangs up where the handshake is due gets the message in clear, and the administrator hears why.
#[test]
fn a_host_that_ends_the_handshake() {
    let port = Port::free();
    let number = port.number();
    let listener = TcpListener::bind(("127.0.0.32", number)).unwrap();
    let postroad = Postroad::start(&Config { remote_port: number, ..Config::default() });
    let host = std::thread::spawn(move || {
        let (mut first, _) = listener.accept().unwrap();
        let mut lines = BufReader::new(first.try_clone().unwrap()).lines();
        for reply in ["220 host.example", "250-host.example\r\n250 STARTTLS", "220 go on"] {
            first.write_all(format!("{reply}\r\n").as_bytes()).unwrap();
            if reply != "220 go on" {
                lines.next().unwrap().unwrap();
            }
        }
        // All of the first message of the handshake is read: so the close is no reset.
        first.peek(&mut [0]).unwrap();
        let _ = first.read(&mut [0; 65536]).unwrap();
        drop((first, lines));
        take_one(&listener)
    });
    let mut session = Session::open(postroad.address()).unwrap();
    session.message("s@sender.example", "r@[127.0.0.32]", &content("1", 1000)).unwrap();
    postroad.wait_drained(wait::PATIENCE);
    assert_eq!(host.join().unwrap(), "<r@[127.0.0.32]>");
    let told = postroad.verb(&["explain", "r@[127.0.0.32]"]);
    let why = "the TLS handshake failed: the host closed the connection; once more in clear";
    assert!(told.stdout.contains(&format!(":{number}: {why}\n")), "{told:?}");
}

/// Takes one message; gives the path of its recipient.
fn take_one(listener: &TcpListener) -> String {
    let (mut stream, _) = listener.accept().unwrap();
    let lines = BufReader::new(stream.try_clone().unwrap()).lines();
    let (mut recipient, mut content) = (String::new(), false);
    stream.write_all(b"220 host.example\r\n").unwrap();
    for line in lines {
        let line = line.unwrap();
        if let Some(path) = line.strip_prefix("RCPT TO:") {
            recipient = path.to_owned();
        }
        let reply = match line.as_str() {
            "." => "250 taken",
            _ if content => continue,
            "DATA" => "354 go on",
            _ => "250 ok",
        };
        content = line == "DATA";
        if line == "QUIT" {
            break;
        }
        stream.write_all(format!("{reply}\r\n").as_bytes()).unwrap();
    }
    recipient
}

/// A client that sends all of a message and leaves before it has read a reply does not slow down the others: no commit waits for it.
#[test]
fn a_client_that_leaves_at_the_dot() {
    let postroad = Postroad::start(&Config::default());
    let recipient = format!("postmaster@{NAME}");
    let fastest = || {
        let mut session = Session::open(postroad.address()).unwrap();
        let times = (0..100).map(|number: u32| {
            let began = Instant::now();
            session.message("s@sender.example", &recipient, &content(&number.to_string(), 300)).unwrap();
            began.elapsed()
        });
        times.min().unwrap()
    };
    let before = fastest();
    for _ in 0..5 {
        let mut stream = TcpStream::connect(postroad.address()).unwrap();
        let all = format!("EHLO x\r\nMAIL FROM:<>\r\nRCPT TO:<{recipient}>\r\nDATA\r\nx\r\n.\r\n");
        // The greeting is left unread: so the close is a reset.
        stream.peek(&mut [0]).unwrap();
        stream.write_all(all.as_bytes()).unwrap();
        drop(stream);
    }
    wait::until("they are gone", || postroad.json(&["status"])[0]["inbound"] == 0);
    // A commit that waits for a draft to come waits for 2 ms. Other tests may be at the disk: they end.
    wait::until(&format!("{before:?} again"), || fastest() < before + Duration::from_millis(1));
}

/// However many come at once, MaxConnections holds.
#[test]
fn a_crowd_of_clients() {
    let config = Config { server: "MaxConnections = 3".to_owned(), ..Config::default() };
    let mut postroad = Postroad::start(&config);
    wait::until("the start's own client is gone", || postroad.json(&["status"])[0]["inbound"] == 0);
    postroad.process().signal("STOP");
    let address: SocketAddr = postroad.address();
    let crowd: Vec<TcpStream> = (0..20).map(|_| TcpStream::connect(address).unwrap()).collect();
    postroad.process().signal("CONT");
    let greetings: Vec<String> = crowd.iter().map(greeting).collect();
    let taken = greetings.iter().filter(|greeting| *greeting == "220").count();
    assert_eq!(taken, 3, "{greetings:?}");
    assert!(greetings.iter().all(|greeting| greeting == "220" || greeting == "421"), "{greetings:?}");
}

fn greeting(mut stream: &TcpStream) -> String {
    let mut code = [0; 3];
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    stream.read_exact(&mut code).unwrap();
    String::from_utf8_lossy(&code).into_owned()
}

/// A client that comes by IPv4 to a wildcard of IPv6 has its own address, not the form in which IPv6 holds it.
#[test]
fn ipv4_at_an_ipv6_wildcard() {
    let mut postroad = Postroad::prepare(&Config::default(), &[]);
    let bindings = format!("ServerBindings = [\"[::]:{}:\"]", postroad.address().port());
    postroad.configure(&Config { server: bindings, ..Config::default() });
    postroad.restart();
    let mut session = Session::open(postroad.address()).unwrap();
    let hello = session.command("EHLO client.example", "250").unwrap();
    assert!(hello.starts_with(&format!("250-{NAME} Hello [127.0.0.1]\r\n")), "{hello}");
    session.message("s@sender.example", &format!("postmaster@{NAME}"), &content("1", 300)).unwrap();
    wait::until("its line in the log", || {
        postroad.log().contains("\"client\":\"127.0.0.1 (client.example)\"")
    });
}
