//! Peers that are none of ours: pyzmq and msgpack, as docs/wire.md has them. The programs are read from the page.

#![allow(clippy::unwrap_used, reason = "helpers of tests may panic as tests do")]

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};

use mosaic_comms::{
    Array, CallError, CommsManager, Config, Context, Event, Events, Execution, Methods, Reason, Security,
    kwargs,
};
use tokio::sync::watch;
use tokio::task::spawn_blocking;

const PAGE: &str = include_str!("../../../docs/wire.md");

/// The block of the page that opens with this line, without its fences.
fn block(opening: &str) -> &'static str {
    let start = PAGE.find(&format!("\n{opening}\n")).expect(opening) + opening.len() + 2;
    let len = PAGE[start..].find("\n```").expect("the block ends");
    &PAGE[start..=start + len]
}

/// The program of the page, from its start to its end.
fn program() -> String {
    block("```python").to_owned()
}

/// What the page defines before it goes to work, for a program of a test's own.
fn program_with(work: &str) -> String {
    let page = block("```python");
    let definitions = page.find("\n\nsend(").expect("the program defines before it works");
    let join = "send('monitor', MESSAGE, 1, 'hand', dict(uid=UID, address=HERE, port=0))\n\
                assert receive(MESSAGE, 'shake')[2]['last']\n";
    [&page[..definitions], "\n", block("```python arrays"), join, work].concat()
}

/// Which way a foreign peer takes to us.
#[derive(Debug, Clone, Copy)]
enum Way {
    /// Our Unix socket, as the same user.
    Ipc,
    /// TCP, in clear text.
    Tcp,
}

impl Way {
    const ALL: [Way; 2] = [Way::Ipc, Way::Tcp];

    fn config(self) -> Config {
        let config = Config::default().address("127.0.0.1").context(Context::builder().build().unwrap());
        match self {
            Way::Ipc => config,
            Way::Tcp => config.security(Security::Insecure),
        }
    }

    fn endpoint(self, comms: &CommsManager) -> String {
        match self {
            Way::Ipc => format!("ipc://{}", socket_path(comms.port()).display()),
            Way::Tcp => format!("tcp://127.0.0.1:{}", comms.port()),
        }
    }

    fn endpoint_of_guest(self, folder: &tempfile::TempDir) -> String {
        match self {
            Way::Ipc => format!("ipc://{}", folder.path().join("guest").display()),
            Way::Tcp => "tcp://127.0.0.1:*".to_owned(),
        }
    }
}

/// Where the page says that our Unix sockets are.
fn socket_path(port: u16) -> PathBuf {
    let folder = match std::env::var_os("XDG_RUNTIME_DIR").filter(|folder| !folder.is_empty()) {
        Some(folder) => PathBuf::from(folder).join("mosaic"),
        None => PathBuf::from(format!("/tmp/mosaic-{}", rustix::process::geteuid().as_raw())),
    };
    folder.join(format!("{port}.sock"))
}

/// A Python program that runs, until dropped.
struct Guest {
    child: Child,
    lines: BufReader<ChildStdout>,
    _folder: tempfile::TempDir,
}

impl Guest {
    fn start(program: &str, monitor: &CommsManager, way: Way) -> Guest {
        let python = std::env::var_os("MOSAIC_TEST_PYTHON").expect(
            "no MOSAIC_TEST_PYTHON: run this through `cargo xtask test`, or set it to a Python that has the \
             packages of python/requirements-test.txt",
        );
        let folder = tempfile::tempdir().unwrap();
        let endpoints = [way.endpoint(monitor), way.endpoint_of_guest(&folder)];
        let mut command = Command::new(python);
        command.arg("-c").arg(program).args(endpoints).stdout(Stdio::piped()).stdin(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        Guest { child, lines, _folder: folder }
    }

    /// The next line that it prints.
    async fn line(mut self) -> (Guest, String) {
        let read = move || {
            let mut line = String::new();
            self.lines.read_line(&mut line).unwrap();
            (self, line.trim_end().to_owned())
        };
        spawn_blocking(read).await.unwrap()
    }

    /// Waits for its end, and gives the rest of what it printed.
    async fn end(mut self) -> String {
        let read = move || {
            drop(self.child.stdin.take());
            let mut rest = String::new();
            self.lines.read_to_string(&mut rest).unwrap();
            assert!(self.child.wait().unwrap().success(), "the program failed, and printed {rest:?}");
            rest.trim_end().to_owned()
        };
        spawn_blocking(read).await.unwrap()
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn monitor_methods() -> Methods {
    Methods::new()
        .method("add", |args, _| async move { Ok(args.get::<f64>("a")? + args.get::<f64>("b")?) })
        .method("scale", |args, _| async move {
            let (field, factor) = (args.get::<Array<f32>>("field")?, args.get::<f32>("factor")?);
            let scaled: Vec<f32> = field.as_slice().iter().map(|value| value * factor).collect();
            Ok(Array::from_shape_vec(field.shape(), scaled)?)
        })
}

async fn monitor(way: Way) -> CommsManager {
    CommsManager::start("monitor", monitor_methods(), way.config()).await.unwrap()
}

async fn worker(way: Way, monitor: &CommsManager) -> CommsManager {
    let config = way.config().monitor(monitor.address(), monitor.port());
    CommsManager::start("worker:0", monitor_methods(), config).await.unwrap()
}

/// Why `uid` is disconnected, once it is.
async fn disconnected(events: &mut Events, wanted: &str) -> Reason {
    loop {
        match events.next().await.expect("the manager runs") {
            Event::Disconnected { uid, reason } if uid == *wanted => return reason,
            _ => {}
        }
    }
}

#[tokio::test]
async fn the_program_of_the_page_joins_calls_and_answers() {
    for way in Way::ALL {
        let monitor = monitor(way).await;
        let worker = worker(way, &monitor).await;
        let mut events = [monitor.events(), worker.events()];
        let guest = Guest::start(&program(), &monitor, way);
        let (guest, line) = guest.line().await;
        assert_eq!(line, "guest monitor worker:0 5.0", "{way:?}");
        worker.wait_for("guest").await.unwrap();
        // The worker dials what the guest has bound.
        let greeting: String = worker.send_recv("guest", "greet", kwargs! { name: "worker" }).await.unwrap();
        assert_eq!(greeting, "hello worker", "{way:?}");
        guest.end().await;
        for events in &mut events {
            let reason = disconnected(events, "guest").await;
            assert!(matches!(reason, Reason::Left { .. }), "{way:?}: {reason}");
        }
        worker.stop().await;
        monitor.stop().await;
    }
}

#[tokio::test]
async fn a_foreign_peer_is_called_through_the_connection_that_it_made() {
    let work = "
caller, id, arguments = receive(MESSAGE, 'greet')
send(caller, REPLY, id, '', 'hello ' + arguments['name'])
caller, id, arguments = receive(MESSAGE, 'fail')
send(caller, ERROR, id, '', dict(kind='sad', message='not today'))
";
    for way in Way::ALL {
        let monitor = monitor(way).await;
        let guest = Guest::start(&program_with(work), &monitor, way);
        monitor.wait_for("guest").await.unwrap();
        let greeting: String = monitor.send_recv("guest", "greet", kwargs! { name: "you" }).await.unwrap();
        assert_eq!(greeting, "hello you", "{way:?}");
        let error = monitor.send_recv::<()>("guest", "fail", ()).await.unwrap_err();
        let CallError::Remote(error) = error else { panic!("{error}") };
        assert_eq!((error.kind.as_str(), error.message.as_str()), ("sad", "not today"));
        guest.end().await;
        monitor.stop().await;
    }
}

#[tokio::test]
async fn numpy_arrays_travel_both_ways() {
    let work = "
field, buffers = numpy.arange(60_000, dtype='<f4').reshape(200, 300), []
body = dict(field=pack_array(field, buffers), factor=2.0)
send('monitor', MESSAGE, 2, 'scale', body, WANTS_REPLY, buffers)
_, _, scaled = receive(REPLY, 2, arrays)
assert scaled.dtype == field.dtype and (scaled == 2 * field).all(), scaled
caller, id, arguments = receive(MESSAGE, 'transpose', arrays)
buffers = []
transposed = pack_array(arguments['field'].T, buffers)
send(caller, REPLY, id, '', transposed, 0, buffers)
";
    for way in Way::ALL {
        let monitor = monitor(way).await;
        let guest = Guest::start(&program_with(work), &monitor, way);
        monitor.wait_for("guest").await.unwrap();
        let field = Array::from_shape_vec([2, 3], vec![1.0_f64, 2.0, 3.0, 4.0, 5.0, 6.0]).unwrap();
        let call = monitor.send_recv::<Array<f64>>("guest", "transpose", kwargs! { field: &field });
        let transposed = call.await.unwrap();
        assert_eq!(transposed.shape(), [3, 2], "{way:?}");
        assert_eq!(transposed.as_slice(), [1.0, 4.0, 2.0, 5.0, 3.0, 6.0], "{way:?}");
        guest.end().await;
        monitor.stop().await;
    }
}

#[tokio::test]
async fn a_foreign_peer_that_is_killed_has_left_and_its_calls_end() {
    let work = "
receive(MESSAGE, 'never')
print('called', flush=True)
sys.stdin.read()
";
    let monitor = monitor(Way::Ipc).await;
    let mut events = monitor.events();
    let guest = Guest::start(&program_with(work), &monitor, Way::Ipc);
    monitor.wait_for("guest").await.unwrap();
    let reply = monitor.send("guest", "never", ()).reply::<()>().await.unwrap();
    let (mut guest, line) = guest.line().await;
    assert_eq!(line, "called");
    guest.child.kill().unwrap();
    let error = reply.await.unwrap_err();
    assert!(matches!(&error, CallError::Disconnected { reason: Reason::Left { .. }, .. }), "{error}");
    assert_eq!(error.execution(), Execution::MayHaveRun);
    assert!(matches!(disconnected(&mut events, "guest").await, Reason::Left { .. }));
    assert!(!monitor.connected("guest"));
    // It may come back, as somebody new.
    let guest = Guest::start(&program_with("sys.stdin.read()"), &monitor, Way::Ipc);
    monitor.wait_for("guest").await.unwrap();
    guest.end().await;
    monitor.stop().await;
}

#[tokio::test]
async fn a_foreign_peer_dials_a_worker_as_the_one_that_the_monitor_knows() {
    let work = "
print('joined', flush=True)
endpoint = sys.stdin.readline().strip()
router.setsockopt(zmq.CONNECT_ROUTING_ID, b'worker:0')
router.connect(endpoint)
send('worker:0', MESSAGE, 2, 'add', dict(a=1, b=2), WANTS_REPLY)
assert receive(REPLY, 2)[2] == 3
print('added', flush=True)
sys.stdin.read()
";
    for way in Way::ALL {
        let monitor = monitor(way).await;
        let worker = worker(way, &monitor).await;
        let (mut guest, line) = Guest::start(&program_with(work), &monitor, way).line().await;
        assert_eq!(line, "joined");
        let endpoint = way.endpoint(&worker);
        writeln!(guest.child.stdin.as_mut().unwrap(), "{endpoint}").unwrap();
        let (guest, line) = guest.line().await;
        assert_eq!(line, "added");
        let life = |comms: &CommsManager| comms.topology().get("guest").map(|place| place.instance);
        assert!(life(&worker).is_some(), "{way:?}");
        assert_eq!(life(&worker), life(&monitor), "{way:?}");
        guest.end().await;
        worker.stop().await;
        monitor.stop().await;
    }
}

/// More than is read ahead of its consumption from a peer that knows no credit: 32 MiB, behind a handler that waits.
#[tokio::test]
async fn a_foreign_flood_waits_in_its_socket_and_then_arrives() {
    let work = "
for number in range(32):
    while not router.poll(300, zmq.POLLOUT):
        print('full', flush=True)
        assert router.poll(10_000, zmq.POLLOUT)
    send('monitor', MESSAGE, number, 'take', dict(number=number, filling=bytes(1 << 20)))
send('monitor', MESSAGE, 99, 'taken', None, WANTS_REPLY)
print(receive(REPLY, 99)[2])
";
    let (open, opened) = watch::channel(false);
    let (count, counted) = watch::channel(0_u32);
    let methods = Methods::new()
        .method("take", move |_, _| {
            let (mut opened, count) = (opened.clone(), count.clone());
            async move {
                count.send_modify(|count| *count += 1);
                opened.wait_for(|open| *open).await?;
                Ok(())
            }
        })
        .method("taken", move |_, _| {
            let taken = *counted.borrow();
            async move { Ok(taken) }
        });
    let config = Way::Ipc.config().running_handlers(1);
    let monitor = CommsManager::start("monitor", methods, config).await.unwrap();
    let small = "router.setsockopt(zmq.SNDHWM, 1)\nrouter.bind(MINE)";
    let program = program_with(work).replace("router.bind(MINE)", small);
    let (guest, line) = Guest::start(&program, &monitor, Way::Ipc).line().await;
    assert_eq!(line, "full");
    open.send(true).unwrap();
    assert_eq!(guest.end().await, "32");
    monitor.stop().await;
}

#[tokio::test]
async fn every_protocol_message_that_wants_a_reply_gets_one() {
    let work = "
send('monitor', MESSAGE, 2, 'who', dict(uid='guest'), WANTS_REPLY)
address, port, instance = receive(REPLY, 2)[2]
assert address and len(instance) == 16, (address, port, instance)
send('monitor', MESSAGE, 3, 'who', dict(uid='nobody'), WANTS_REPLY)
assert receive(REPLY, 3)[2] is None
send('monitor', MESSAGE, 4, 'hand', dict(uid=UID, address=HERE, port=0), WANTS_REPLY)
assert receive(REPLY, 4)[2] is None
send('monitor', MESSAGE, 5, 'who', dict(name='guest'), WANTS_REPLY)
try:
    receive(REPLY, 5)
except SystemExit as error:
    print(error)
";
    let monitor = monitor(Way::Ipc).await;
    let printed = Guest::start(&program_with(work), &monitor, Way::Ipc).end().await;
    assert!(printed.starts_with("monitor: "), "{printed}");
    monitor.stop().await;
}

#[tokio::test]
async fn stop_is_taken_from_the_same_user_and_from_nobody_else() {
    let work = "
send('monitor', MESSAGE, 2, 'stop', None, WANTS_REPLY)
print(receive(REPLY, 2)[2])
";
    let monitor_over_ipc = monitor(Way::Ipc).await;
    let printed = Guest::start(&program_with(work), &monitor_over_ipc, Way::Ipc).end().await;
    assert_eq!(printed, "None");
    monitor_over_ipc.wait().await;

    let asking = work.replace("print(receive(REPLY, 2)[2])", "");
    let refused = [&asking, "try:\n    receive(REPLY, 2)\nexcept SystemExit as error:\n    print(error)\n"];
    let monitor = monitor(Way::Tcp).await;
    let printed = Guest::start(&program_with(&refused.concat()), &monitor, Way::Tcp).end().await;
    assert!(printed.contains("only those may stop this runtime"), "{printed}");
    let sum: f64 = monitor.send_recv("monitor", "add", kwargs! { a: 1, b: 1 }).await.unwrap();
    assert_eq!(sum, 2.0);
    monitor.stop().await;
}

#[tokio::test]
async fn over_clear_text_nobody_speaks_of_the_comings_and_goings_of_others() {
    let work = "
for number, (method, args) in enumerate([
    ('disconnect', dict(uid='worker:0', instance='0' * 16)),
    ('connect', dict(uid='worker:9', address='127.0.0.1', port=1, instance='0' * 15 + '1')),
]):
    send('monitor', MESSAGE, 2 + number, method, args, WANTS_REPLY)
    try:
        receive(REPLY, 2 + number)
        print('heeded')
    except SystemExit as error:
        print(error, end=' | ')
print('done')
";
    let monitor = monitor(Way::Tcp).await;
    let worker = worker(Way::Tcp, &monitor).await;
    let printed = Guest::start(&program_with(work), &monitor, Way::Tcp).end().await;
    assert_eq!(printed.matches("may speak for itself only").count(), 2, "{printed}");
    assert!(printed.ends_with("done") && monitor.connected("worker:0") && !monitor.connected("worker:9"));
    worker.stop().await;
    monitor.stop().await;
}

/// What someone gets who greets with this identity.
fn answer_to(identity: &[u8], port: u16) -> Vec<u8> {
    let mut ready = b"\x05READY\x0bSocket-Type\x00\x00\x00\x06ROUTER\x08Identity".to_vec();
    ready.extend((identity.len() as u32).to_be_bytes());
    ready.extend(identity);
    let mut greeting = vec![0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0x7f, 3, 1];
    greeting.extend(b"NULL");
    greeting.resize(64, 0);
    let mut stream = UnixStream::connect(socket_path(port)).unwrap();
    stream.write_all(&[&greeting, &[4, ready.len() as u8][..], &ready].concat()).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    answer.split_off(64)
}

#[tokio::test]
async fn an_identity_that_is_no_uid_is_refused_and_touches_nothing_else() {
    let monitor = monitor(Way::Ipc).await;
    let port = monitor.port();
    for identity in [&b"\xff\xfe\x00"[..], b"two words", b"", b"monitor", b"worker:x:"] {
        let answer = spawn_blocking(move || answer_to(identity, port)).await.unwrap();
        let text = String::from_utf8_lossy(&answer);
        assert!(text.contains("ERROR"), "{identity:?} got {text:?}");
        assert!(text.contains("malformed: ") || text.contains("uid-taken: "), "{identity:?} got {text:?}");
    }
    assert_eq!(monitor.topology().len(), 1);
    let sum: f64 = monitor.send_recv("monitor", "add", kwargs! { a: 1, b: 1 }).await.unwrap();
    assert_eq!(sum, 2.0);
    monitor.stop().await;
}

#[tokio::test]
async fn tcp_is_refused_without_a_word_unless_it_was_asked_for() {
    let monitor = monitor(Way::Ipc).await;
    let port = monitor.port();
    let read = move || {
        let mut stream = std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.set_read_timeout(Some(std::time::Duration::from_secs(10))).unwrap();
        let mut answer = Vec::new();
        let _reset = stream.read_to_end(&mut answer);
        answer
    };
    assert_eq!(spawn_blocking(read).await.unwrap(), b"");
    monitor.stop().await;
}

#[tokio::test]
async fn a_foreign_peer_with_a_uid_that_is_taken_is_refused() {
    let monitor = monitor(Way::Ipc).await;
    let worker = worker(Way::Ipc, &monitor).await;
    let port = monitor.port();
    let answer = spawn_blocking(move || answer_to(b"worker:0", port)).await.unwrap();
    assert!(String::from_utf8_lossy(&answer).contains("uid-taken: "), "{answer:?}");
    let sum: f64 = worker.send_recv("monitor", "add", kwargs! { a: 1, b: 1 }).await.unwrap();
    assert_eq!(sum, 2.0);
    worker.stop().await;
    monitor.stop().await;
}
