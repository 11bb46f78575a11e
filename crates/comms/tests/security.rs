//! Who is let in over TCP: those who hold the job's credential, and nobody else.
#![allow(clippy::unwrap_used, reason = "a test that can't be set up has failed")]

use std::error::Error;
use std::fs::{self, Permissions};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use mosaic_comms::{
    Array, CommsManager, Config, Context, Credential, CredentialError, Exposure, Methods, Security,
    StartError, UnixSockets, kwargs,
};
use mosaic_proto::Session;
use mosaic_proto::wire::{Command as WireCommand, Lane, greeting};
use mosaic_testkit::{greeted, message, read_to_end, stranger as ready};
use parking_lot::Mutex;
use tempfile::TempDir;
use tracing_subscriber::fmt::MakeWriter;

/// As long as something that must happen may take at most.
const LONG: Duration = Duration::from_secs(20);

fn by_tcp() -> Config {
    Config::default()
        .address("127.0.0.1")
        .context(Context::builder().build().unwrap())
        .unix_sockets(UnixSockets::Avoid)
        .handshake_within(Duration::from_millis(700))
}

/// A folder with credentials of two jobs.
struct Keys {
    folder: TempDir,
}

impl Keys {
    fn new() -> Keys {
        Keys { folder: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    async fn monitor(&self) -> CommsManager {
        let methods = Methods::new().method("twice", |args, _| async move { Ok(args.get::<u32>("n")? * 2) });
        CommsManager::start("monitor", methods, by_tcp().key_file(self.path("job.key"))).await.unwrap()
    }

    async fn join(&self, monitor: &CommsManager, key: &str) -> Result<CommsManager, StartError> {
        let config = by_tcp().key_file(self.path(key)).monitor(monitor.address(), monitor.port());
        CommsManager::start("head", Methods::new(), config).await
    }
}

/// An error with all its causes, as a program would print it.
fn told(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text = format!("{text}: {cause}");
        next = cause.source();
    }
    text
}

async fn works(head: &CommsManager) {
    let twice: u32 = head.send_recv("monitor", "twice", kwargs! { n: 4 }).await.unwrap();
    assert_eq!(twice, 8);
}

fn connect(to: &CommsManager) -> TcpStream {
    let stream = TcpStream::connect((to.address(), to.port())).unwrap();
    stream.set_read_timeout(Some(LONG)).unwrap();
    stream
}

#[tokio::test]
async fn holders_of_the_credential_meet_with_no_step_of_the_user() {
    let keys = Keys::new();
    let monitor = keys.monitor().await;
    let head = keys.join(&monitor, "job.key").await.unwrap();
    works(&head).await;
    let field = Array::from((0..300_000).map(f64::from).collect::<Vec<_>>());
    let methods =
        Methods::new().method("echo", |args, _| async move { Ok(args.get::<Array<f64>>("value")?) });
    let config = by_tcp().key_file(keys.path("job.key")).monitor(monitor.address(), monitor.port());
    let worker = CommsManager::start("worker", methods, config).await.unwrap();
    head.wait_for("worker").await.unwrap();
    let back: Array<f64> = head.send_recv("worker", "echo", kwargs! { value: &field }).await.unwrap();
    assert_eq!(back.as_slice(), field.as_slice());
    for comms in [head, worker, monitor] {
        comms.stop().await;
    }
}

#[tokio::test]
async fn another_jobs_credential_is_an_error_that_names_the_file() {
    let keys = Keys::new();
    let monitor = keys.monitor().await;
    Credential::create(keys.path("other.key")).unwrap();
    let error = told(&keys.join(&monitor, "other.key").await.unwrap_err());
    assert!(error.contains("another credential") && error.contains("other.key"), "{error}");
    assert!(monitor.peers("*").is_empty());
    monitor.stop().await;
}

#[tokio::test]
async fn without_a_credential_the_error_says_where_it_was_looked_for() {
    let keys = Keys::new();
    let monitor = keys.monitor().await;
    let error = told(&keys.join(&monitor, "nowhere.key").await.unwrap_err());
    assert!(error.contains("no credential of this job") && error.contains("nowhere.key"), "{error}");
    assert!(error.contains("MOSAIC_KEY_FILE"), "{error}");
    assert!(monitor.peers("*").is_empty());
    monitor.stop().await;
}

#[tokio::test]
async fn a_credential_that_comes_late_is_found() {
    let keys = Keys::new();
    let monitor = keys.monitor().await;
    let late = keys.path("late.key");
    let config = by_tcp().handshake_within(LONG).key_file(&late).monitor(monitor.address(), monitor.port());
    let head = CommsManager::new("head", Methods::new(), config).unwrap();
    head.connect_recv().await.unwrap();
    let (host, port) = (monitor.address(), monitor.port());
    let joining = head.handshake("monitor", &host, port);
    let copying = async {
        // It has been looked for by then: that an attempt has failed can't be seen from outside.
        tokio::task::yield_now().await;
        let text = fs::read(keys.path("job.key")).unwrap();
        fs::write(&late, text).unwrap();
        fs::set_permissions(&late, Permissions::from_mode(0o600)).unwrap();
    };
    let (joined, ()) = tokio::join!(joining, copying);
    joined.unwrap();
    head.stop().await;
    monitor.stop().await;
}

#[tokio::test]
async fn plain_bytes_at_a_tls_port_get_no_answer() {
    let keys = Keys::new();
    let monitor = keys.monitor().await;
    let head = keys.join(&monitor, "job.key").await.unwrap();
    for bytes in
        [&greeting()[..], b"GET / HTTP/1.1\r\n\r\n", &[0x16, 3, 1, 0xff, 0xff, 1], &[0; 512], &[0x16; 70_000]]
    {
        let mut stream = connect(&monitor);
        // It may be over before all is written.
        let _ = stream.write_all(bytes);
        let _ = stream.shutdown(Shutdown::Write);
        assert_eq!(read_to_end(stream).await, b"", "{:?}", &bytes[..4]);
    }
    works(&head).await;
    head.stop().await;
    monitor.stop().await;
}

#[tokio::test]
async fn no_message_of_the_protocol_is_heeded_that_comes_in_clear_text() {
    let keys = Keys::new();
    let monitor = keys.monitor().await;
    let head = keys.join(&monitor, "job.key").await.unwrap();
    let hello = greeted(&WireCommand::Ready(ready(Lane::Control, Session::NONE)));
    for method in
        ["hand", "shake", "news", "connect", "disconnect", "who", "stop", "raise_exception", "twice"]
    {
        let mut stream = connect(&monitor);
        // It may be over before all is written.
        let _ = stream.write_all(&[&hello[..], &message(method, 0)].concat());
        let _ = stream.shutdown(Shutdown::Write);
        assert_eq!(read_to_end(stream).await, b"", "{method}");
    }
    works(&head).await;
    assert_eq!(monitor.peers("*").len(), 1);
    head.stop().await;
    monitor.stop().await;
}

#[tokio::test]
async fn tls_and_clear_text_do_not_meet_and_are_told_why() {
    let keys = Keys::new();
    let insecure = by_tcp().security(Security::Insecure);
    let monitor = CommsManager::start("monitor", Methods::new(), insecure.clone()).await.unwrap();
    Credential::create(keys.path("job.key")).unwrap();
    let error = told(&keys.join(&monitor, "job.key").await.unwrap_err());
    assert!(error.contains("does not speak TLS") && error.contains("Security::Insecure"), "{error}");
    monitor.stop().await;

    let monitor = keys.monitor().await;
    let config = insecure.monitor(monitor.address(), monitor.port());
    let error = told(&CommsManager::start("head", Methods::new(), config).await.unwrap_err());
    assert!(error.contains("end of file") || error.contains("reset"), "{error}");
    monitor.stop().await;
}

/// Carries connections to `port` and back; gives what the dialler of each sent, once it has ended.
fn eavesdrop(port: u16) -> (u16, mpsc::Receiver<Vec<u8>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let own = listener.local_addr().unwrap().port();
    let (tell, told) = mpsc::channel();
    std::thread::spawn(move || {
        for dialler in listener.incoming() {
            let (dialler, tell) = (dialler.unwrap(), tell.clone());
            std::thread::spawn(move || tell.send(carry(dialler, port)));
        }
    });
    (own, told)
}

fn carry(mut dialler: TcpStream, port: u16) -> Vec<u8> {
    let mut server = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let (mut back, mut from) = (dialler.try_clone().unwrap(), server.try_clone().unwrap());
    let returning = std::thread::spawn(move || {
        let _ = std::io::copy(&mut from, &mut back);
        let _ = back.shutdown(Shutdown::Both);
    });
    let mut heard = Vec::new();
    let mut buffer = [0; 4096];
    while let Ok(read @ 1..) = dialler.read(&mut buffer) {
        heard.extend_from_slice(&buffer[..read]);
        if server.write_all(&buffer[..read]).is_err() {
            break;
        }
    }
    let _ = server.shutdown(Shutdown::Both);
    returning.join().unwrap();
    heard
}

#[tokio::test]
async fn what_was_overheard_is_of_no_use_whole_or_in_part() {
    let keys = Keys::new();
    let monitor = keys.monitor().await;
    let (port, heard) = eavesdrop(monitor.port());
    let config = by_tcp().key_file(keys.path("job.key"));
    let head = CommsManager::new("head", Methods::new(), config).unwrap();
    head.connect_recv().await.unwrap();
    head.handshake("monitor", "127.0.0.1", port).await.unwrap();
    let secret = "the-name-of-a-method";
    let _ = head.send_recv::<u32>("monitor", secret, kwargs! { n: 4 }).await;
    head.stop().await;
    let (one, other) = (heard.recv_timeout(LONG).unwrap(), heard.recv_timeout(LONG).unwrap());
    let heard = if one.len() > other.len() { one } else { other };
    assert!(heard.len() > 500, "{}", heard.len());
    let position = heard.windows(secret.len()).position(|bytes| bytes == secret.as_bytes());
    assert_eq!(position, None, "it travelled in clear text");

    let known = keys.join(&monitor, "job.key").await.unwrap();
    let cuts = (0..heard.len()).step_by(heard.len() / 40 + 1).chain([heard.len()]);
    for cut in cuts {
        let mut stream = connect(&monitor);
        let _ = stream.write_all(&heard[..cut]);
        let _ = stream.shutdown(Shutdown::Write);
        let answer = read_to_end(stream).await;
        assert!(!answer.windows(4).any(|bytes| bytes == b"NULL"), "a greeting came at {cut}");
    }
    works(&known).await;
    assert_eq!(monitor.peers("*").len(), 1);
    known.stop().await;
    monitor.stop().await;
}

#[test]
fn a_key_file_is_made_whole_private_and_once() {
    let keys = Keys::new();
    let path = keys.path("new/folder/job.key");
    let made: Vec<String> = std::thread::scope(|scope| {
        let makers: Vec<_> = (0..8)
            .map(|_| scope.spawn(|| Credential::load_or_create(&path).unwrap().fingerprint().to_owned()))
            .collect();
        makers.into_iter().map(|maker| maker.join().unwrap()).collect()
    });
    assert!(made.iter().all(|fingerprint| *fingerprint == made[0] && fingerprint.len() == 64), "{made:?}");
    let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o7777;
    assert_eq!(mode(&path), 0o600);
    assert_eq!(mode(path.parent().unwrap()), 0o700);
    assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "drafts are left");
    assert!(matches!(Credential::create(&path), Err(CredentialError::Exists { .. })));
    assert_eq!(Credential::load(&path).unwrap().fingerprint(), made[0]);
}

#[test]
fn a_file_that_others_could_read_or_replace_is_refused() {
    let keys = Keys::new();
    let path = keys.path("job.key");
    Credential::create(&path).unwrap();
    for mode in [0o644, 0o620, 0o604, 0o606] {
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        let error = Credential::load(&path).unwrap_err();
        let CredentialError::Exposed { exposure, .. } = &error else { panic!("{error:?}") };
        assert_eq!(*exposure, Exposure::Mode { mode, wanted: 0o600 });
        assert!(error.to_string().contains("chmod 600"), "{error}");
    }
    fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
    for mode in [0o770, 0o707, 0o777] {
        fs::set_permissions(keys.folder.path(), Permissions::from_mode(mode)).unwrap();
        let error = Credential::load(&path).unwrap_err();
        assert!(matches!(error, CredentialError::Exposed { .. }), "{error:?}");
        assert!(error.to_string().contains("chmod 700"), "{error}");
    }
    fs::set_permissions(keys.folder.path(), Permissions::from_mode(0o755)).unwrap();
    Credential::load(&path).unwrap();
    if rustix::process::geteuid().is_root() {
        std::os::unix::fs::chown(&path, Some(65534), None).unwrap();
        let error = Credential::load(&path).unwrap_err();
        assert!(error.to_string().contains("belongs to user 65534"), "{error}");
    }
}

#[test]
fn what_is_no_key_file_is_refused_with_a_reason() {
    let keys = Keys::new();
    let (one, other) = (keys.path("one.key"), keys.path("other.key"));
    Credential::create(&one).unwrap();
    Credential::create(&other).unwrap();
    let (one, other) = (fs::read_to_string(one).unwrap(), fs::read_to_string(other).unwrap());
    let (key, certificate) = one.split_at(one.find("-----BEGIN CERTIFICATE").unwrap());
    let (foreign, _) = other.split_at(other.find("-----BEGIN CERTIFICATE").unwrap());
    let bad = keys.path("bad.key");
    for (text, why) in [
        ("", "no certificate"),
        ("hello", "no certificate"),
        (certificate, "no private key"),
        (key, "no certificate"),
        (&format!("{foreign}{certificate}"), "belong together"),
    ] {
        fs::write(&bad, text).unwrap();
        fs::set_permissions(&bad, Permissions::from_mode(0o600)).unwrap();
        let error = Credential::load(&bad).unwrap_err().to_string();
        assert!(error.contains(why) && error.contains("bad.key"), "{error}");
    }
    let error = Credential::load(keys.folder.path()).unwrap_err();
    assert!(error.to_string().contains("not a regular file"), "{error}");
    assert!(matches!(Credential::load(keys.path("none")), Err(CredentialError::NotFound { .. })));
}

/// Collects what is logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Log;

    fn make_writer(&'a self) -> Log {
        self.clone()
    }
}

#[tokio::test]
async fn the_key_is_never_shown() {
    let log = Log::default();
    let subscriber =
        tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_writer(log.clone()).finish();
    tracing::subscriber::set_global_default(subscriber).unwrap();
    let keys = Keys::new();
    let monitor = keys.monitor().await;
    let head = keys.join(&monitor, "job.key").await.unwrap();
    works(&head).await;
    Credential::create(keys.path("other.key")).unwrap();
    let error = keys.join(&monitor, "other.key").await.unwrap_err();
    let shown = format!(
        "{error:?} {} {head:?} {:?} {:?}",
        told(&error),
        by_tcp().key_file(keys.path("job.key")),
        Credential::load(keys.path("job.key")).unwrap(),
    );
    head.stop().await;
    monitor.stop().await;
    let logged = String::from_utf8(log.0.lock().clone()).unwrap();
    assert!(logged.contains("job.key"), "the log was not collected: {logged}");
    for name in ["job.key", "other.key"] {
        let text = fs::read_to_string(keys.path(name)).unwrap();
        let secret = text.lines().nth(1).unwrap();
        assert!(text.starts_with("-----BEGIN PRIVATE KEY-----") && secret.len() > 40);
        assert!(!shown.contains(secret) && !logged.contains(secret), "{name} was shown");
    }
}

#[tokio::test]
async fn stop_is_taken_from_those_it_is_accepted_from() {
    let keys = Keys::new();
    let monitor = keys.monitor().await;
    let config = || by_tcp().key_file(keys.path("job.key")).monitor(monitor.address(), monitor.port());
    let worker =
        CommsManager::start("worker", Methods::new(), config().accept_stop_from(["boss:*"])).await.unwrap();
    let other = CommsManager::start("other", Methods::new(), config()).await.unwrap();
    let boss = CommsManager::start("boss:1", Methods::new(), config()).await.unwrap();
    let refused = other.send_recv::<()>("worker", "stop", ()).await.unwrap_err().to_string();
    assert!(refused.contains("does not let you stop it"), "{refused}");
    boss.send("worker", "stop", ()).await.unwrap();
    worker.wait().await;
    // Anybody of the job, where nothing is said.
    boss.send("other", "stop", ()).await.unwrap();
    other.wait().await;
    boss.stop().await;
    monitor.stop().await;
}

const STRANGER: &str = "MOSAIC_TEST_STRANGER";

/// In the process of another user: tries every way in, and tells what came of it.
#[test]
#[expect(clippy::print_stdout, reason = "the test that started the process reads it")]
fn stranger() {
    let Ok(told) = std::env::var(STRANGER) else { return };
    let (port, key) = told.split_once(' ').unwrap();
    let port: u16 = port.parse().unwrap();
    let socket = format!("{}/mosaic/{port}.sock", std::env::var("XDG_RUNTIME_DIR").unwrap());
    println!("unix: {:?}", std::os::unix::net::UnixStream::connect(socket).map(drop).unwrap_err().kind());
    let executor = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    executor.block_on(async {
        let config = by_tcp().key_file(key).monitor("127.0.0.1", port);
        println!("tls: {}", told_start(CommsManager::start("stranger", Methods::new(), config).await));
    });
}

fn told_start(outcome: Result<CommsManager, StartError>) -> String {
    outcome.map_or_else(|error| told(&error), |_| "joined".to_owned())
}

#[tokio::test]
async fn another_user_of_the_host_gets_in_by_no_way() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: only the superuser can start a process of another user");
        return;
    }
    let keys = Keys::new();
    let config = Config::default().address("127.0.0.1").key_file(keys.path("job.key"));
    let monitor = CommsManager::start("monitor", Methods::new(), config).await.unwrap();
    // Where the other user can run it.
    let public = tempfile::tempdir_in("/tmp").unwrap();
    fs::set_permissions(public.path(), Permissions::from_mode(0o755)).unwrap();
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").map_or_else(|| PathBuf::from("/tmp"), PathBuf::from);
    let mut command = again(&public, "stranger");
    command.uid(65534).gid(65534);
    command.env(STRANGER, format!("{} {}", monitor.port(), keys.path("job.key").display()));
    command.env("XDG_RUNTIME_DIR", runtime);
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said} {}", String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("unix: PermissionDenied") || said.contains("unix: NotFound"), "{said}");
    assert!(said.contains("cannot be used: Permission denied"), "{said}");
    assert!(monitor.peers("*").is_empty());
    monitor.stop().await;
}

const HOST: &str = "MOSAIC_TEST_HOST";

/// In a process of its own: a monitor, until its input ends.
#[test]
#[expect(clippy::print_stdout, reason = "the test that started the process reads it")]
fn host() {
    let Ok(key) = std::env::var(HOST) else { return };
    let executor = tokio::runtime::Runtime::new().unwrap();
    executor.block_on(async {
        let config = Config::default().address("127.0.0.1").key_file(key);
        let monitor = CommsManager::start("monitor", Methods::new(), config).await.unwrap();
        println!("port {}.", monitor.port());
        tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new()).unwrap()).await.unwrap();
        monitor.stop().await;
    });
}

const KNOCKER: &str = "MOSAIC_TEST_KNOCKER";

/// In a process of somebody: says what the socket answers to a true beginning.
#[test]
#[expect(clippy::print_stdout, reason = "the test that started the process reads it")]
fn knocker() {
    let Some(socket) = std::env::var_os(KNOCKER) else { return };
    let mut stream = std::os::unix::net::UnixStream::connect(socket).unwrap();
    stream.set_read_timeout(Some(LONG)).unwrap();
    // It may be over before all is written.
    let _ = stream.write_all(&greeted(&WireCommand::Ready(ready(Lane::Control, Session::NONE))));
    let _ = stream.shutdown(Shutdown::Write);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    println!("answered {} bytes.", answer.len());
}

/// This program in a folder where other users can run it, to run one test alone.
fn again(public: &TempDir, test: &str) -> Command {
    let program = public.path().join("again");
    if !program.exists() {
        fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    }
    let mut command = Command::new(program);
    command.args(["--exact", test, "--nocapture"]).current_dir("/").env("XDG_RUNTIME_DIR", public.path());
    command
}

/// The word behind this one in what a program prints.
fn word_after(wanted: &str, lines: &mut impl Iterator<Item = std::io::Result<String>>) -> String {
    let line = lines.map(Result::unwrap).find(|line| line.contains(wanted)).unwrap();
    line.split(wanted).nth(1).unwrap().trim().trim_end_matches('.').to_owned()
}

#[test]
fn another_user_who_reaches_the_socket_is_turned_away_by_his_user_id() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: only the superuser can start a process of another user");
        return;
    }
    let (keys, public) = (Keys::new(), tempfile::tempdir_in("/tmp").unwrap());
    fs::set_permissions(public.path(), Permissions::from_mode(0o755)).unwrap();
    let mut command = again(&public, "host");
    command.env(HOST, keys.path("job.key")).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut host = command.spawn().unwrap();
    let mut lines = BufReader::new(host.stdout.take().unwrap()).lines();
    let socket = public.path().join("mosaic").join(format!("{}.sock", word_after("port ", &mut lines)));
    let knock = |user: u32| {
        let mut command = again(&public, "knocker");
        let output = command.env(KNOCKER, &socket).uid(user).gid(user).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        word_after("answered ", &mut output.stdout.lines())
    };
    // As if somebody had opened the folder, which is private by itself.
    fs::set_permissions(socket.parent().unwrap(), Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(&socket, Permissions::from_mode(0o777)).unwrap();
    assert_eq!(knock(65534), "0 bytes");
    assert_ne!(knock(0), "0 bytes");
    drop(host.stdin.take());
    assert!(host.wait().unwrap().success());
}
