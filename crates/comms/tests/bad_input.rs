//! Strangers' bytes: whatever comes over a connection costs that connection, and nothing else.
#![allow(clippy::unwrap_used, reason = "a test that can't be set up has failed")]

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;

use mosaic_comms::{CommsManager, Config, Context, Instance, Methods, Security, Uid, kwargs};
use mosaic_proto::Session;
use mosaic_proto::wire::{Command, FrameHeader, Lane, MosaicReady, Ready, greeting};
use mosaic_testkit::{greeted, message, read_to_end, stranger};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tracing_subscriber::fmt::MakeWriter;

fn own() -> Config {
    Config::default()
        .address("127.0.0.1")
        .context(Context::builder().build().unwrap())
        .security(Security::Insecure)
}

struct Net {
    monitor: CommsManager,
    victim: CommsManager,
}

impl Net {
    async fn start() -> Net {
        let monitor = CommsManager::start("monitor", Methods::new(), own()).await.unwrap();
        let methods = Methods::new().method("twice", |args, _| async move { Ok(args.get::<u32>("n")? * 2) });
        let config = own().monitor(monitor.address(), monitor.port());
        let victim = CommsManager::start("victim", methods, config).await.unwrap();
        monitor.wait_for("victim").await.unwrap();
        Net { monitor, victim }
    }

    fn tcp(&self) -> TcpStream {
        let stream = TcpStream::connect((self.victim.address(), self.victim.port())).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream
    }

    async fn works(&self) {
        let twice: u32 = self.monitor.send_recv("victim", "twice", kwargs! { n: 4 }).await.unwrap();
        assert_eq!(twice, 8);
    }

    async fn stop(self) {
        self.victim.stop().await;
        self.monitor.stop().await;
    }
}

fn changed(change: impl FnOnce(&mut MosaicReady)) -> Command {
    let mut ready = stranger(Lane::Control, Session::NONE);
    change(ready.mosaic.as_mut().unwrap());
    Command::Ready(ready)
}

fn frame(size: u64, command: bool) -> Vec<u8> {
    let mut bytes = greeting().to_vec();
    FrameHeader { more: false, command, elsewhere: false, len: size }.encode(&mut bytes);
    bytes
}

#[tokio::test]
async fn what_a_stranger_sends_costs_its_connection_only() {
    let net = Net::start().await;
    let taken = Command::Ready(Ready {
        uid: Some(net.victim.uid().clone()),
        ..stranger(Lane::Control, Session::NONE)
    });
    let holder = Command::Ready(Ready {
        uid: Some(net.monitor.uid().clone()),
        ..stranger(Lane::Control, Session::NONE)
    });
    let mut random = fastrand::Rng::with_seed(3);
    let garbage: Vec<u8> = (0..4096).map(|_| random.u8(..)).collect();
    let mut early = greeting().to_vec();
    early.extend(message("twice", 0));
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("another protocol", b"GET / HTTP/1.1\r\nHost: victim\r\n\r\n".to_vec()),
        ("random bytes", garbage),
        ("zeros", vec![0; 1000]),
        ("a frame that is too large", frame(1 << 60, false)),
        ("a command that is too large", frame(1 << 20, true)),
        ("a message before READY", early),
        ("PING before READY", greeted(&Command::Ping { ttl: 0, context: Vec::new() })),
        ("another version", greeted(&changed(|ready| ready.version = (99, 0)))),
        (
            "whom it does not mean",
            greeted(&changed(|ready| ready.wanted_uid = Some(Uid::new("other").unwrap()))),
        ),
        ("a life it does not mean", greeted(&changed(|ready| ready.wanted_instance = Some(Instance(1))))),
        ("a session that is not", greeted(&changed(|ready| ready.lane = Lane::Data))),
        ("our own uid", greeted(&taken)),
        ("a uid that is alive", greeted(&holder)),
    ];
    for (name, bytes) in cases {
        let mut stream = net.tcp();
        // The connection may be over before all is written.
        let _ = stream.write_all(&bytes);
        read_to_end(stream).await;
        net.works().await;
        assert!(net.victim.connected("monitor"), "{name}");
        let mut stream = UnixStream::connect(socket(net.victim.port())).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let _ = stream.write_all(&bytes);
        read_to_end(stream).await;
        net.works().await;
    }
    net.stop().await;
}

fn socket(port: u16) -> std::path::PathBuf {
    let folder = match std::env::var_os("XDG_RUNTIME_DIR") {
        Some(folder) if !folder.is_empty() => std::path::Path::new(&folder).join("mosaic"),
        _ => format!("/tmp/mosaic-{}", rustix::process::geteuid().as_raw()).into(),
    };
    folder.join(format!("{port}.sock"))
}

#[tokio::test]
async fn a_handshake_that_breaks_off_anywhere_harms_nobody() {
    let net = Net::start().await;
    let whole = greeted(&Command::Ready(stranger(Lane::Control, Session::NONE)));
    for len in (0..whole.len()).step_by(7) {
        let mut stream = net.tcp();
        let _ = stream.write_all(&whole[..len]);
        let _ = stream.shutdown(std::net::Shutdown::Write);
        read_to_end(stream).await;
    }
    net.works().await;
    assert!(!net.victim.connected("stranger"));
    net.stop().await;
}

#[tokio::test]
async fn a_peer_that_breaks_the_rules_after_its_handshake_loses_its_connection() {
    let net = Net::start().await;
    let hello = greeted(&Command::Ready(stranger(Lane::Control, Session::NONE)));
    let again = greeted(&Command::Ready(stranger(Lane::Control, Session::NONE)))[64..].to_vec();
    let mut huge = Vec::new();
    FrameHeader { more: false, command: false, elsewhere: false, len: 1 << 40 }.encode(&mut huge);
    for (name, bytes) in [
        ("garbage", vec![0xee; 300]),
        ("READY again", again),
        ("an over-window message", message("twice", 1 << 20)),
        ("a frame over every limit", huge),
    ] {
        let mut stream = net.tcp();
        stream.write_all(&hello).unwrap();
        let mut first = [0; 64];
        stream.read_exact(&mut first).unwrap();
        // The connection may be over before all is written.
        let _ = stream.write_all(&bytes);
        read_to_end(stream).await;
        net.works().await;
        assert!(net.victim.connected("monitor"), "{name}");
    }
    net.stop().await;
}

#[tokio::test]
async fn half_open_connections_do_not_keep_others_out_for_long() {
    let net = Net::start().await;
    let idle: Vec<_> = (0..300).map(|_| net.tcp()).collect();
    net.works().await;
    // Those that say nothing are closed in time, and then the others are let in.
    let config = own().monitor(net.monitor.address(), net.monitor.port());
    let late = CommsManager::start("late", Methods::new(), config).await.unwrap();
    let twice: u32 = late.send_recv("victim", "twice", kwargs! { n: 4 }).await.unwrap();
    assert_eq!(twice, 8);
    drop(idle);
    late.stop().await;
    net.stop().await;
}

/// Keeps what is logged.
#[derive(Clone, Default)]
struct Kept(Arc<(Mutex<Vec<u8>>, Notify)>);

impl Write for Kept {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.0.lock().extend_from_slice(bytes);
        self.0.1.notify_one();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Kept {
    type Writer = Kept;

    fn make_writer(&'a self) -> Kept {
        self.clone()
    }
}

#[tokio::test]
async fn the_reason_for_a_refused_connection_is_logged() {
    let kept = Kept::default();
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter("mosaic_comms=debug")
        .with_ansi(false)
        .with_writer(kept.clone())
        .finish();
    // The only one of this process: other tests write there too.
    tracing::subscriber::set_global_default(subscriber).unwrap();
    let net = Net::start().await;
    let mut stream = net.tcp();
    stream.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    read_to_end(stream).await;
    // The connection may end before the line about it is written.
    let logged = async {
        loop {
            let logged = String::from_utf8(kept.0.0.lock().clone()).unwrap();
            let refused = logged.lines().filter(|line| line.contains("a connection was not let in"));
            // Other tests of this process have others refused, for other reasons.
            if refused.into_iter().any(|line| line.contains("ZMTP") && line.contains("uid=victim")) {
                return;
            }
            kept.0.1.notified().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), logged).await.unwrap();
    net.stop().await;
}
