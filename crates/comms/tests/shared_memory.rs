//! Large arrays between processes of one user on one host: by shared memory where both sides have it and there is enough,
//! by the socket otherwise. Two contexts stand for two processes; the last tests have real ones, which are this program
//! again, told to run the test at the end, which does nothing otherwise.

#![allow(clippy::unwrap_used, reason = "a test that can't be set up has failed")]

use std::future::IntoFuture;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;

use mosaic_comms::local::{Network, worker};
use mosaic_comms::{
    Array, CommsManager, Config, Context, Credential, Event, HandlerError, Methods, SharedMemory, Uid, kwargs,
};
use mosaic_proto::Session;
use mosaic_proto::wire::{Command, FrameHeader, Lane, Ready, Receiver};
use mosaic_testkit::{Proxy, greeted, message, read_to_end, stranger};
use parking_lot::Mutex;
use rustix::net::{Shutdown, SocketAddrUnix, getpeername, getsockname, shutdown};
use rustix::process::{PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open};
use tokio::time::timeout;

/// How long anything may take before a test fails instead of waiting: long enough for a loaded machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// Elements of an array of 1 MiB.
const MIB: usize = (1 << 20) / 8;

fn context() -> Context {
    Context::builder().build().unwrap()
}

fn sharing(bytes: usize) -> Context {
    Context::builder().share_memory(bytes).build().unwrap()
}

/// An array in which every element is another, and which differs from those of other numbers.
fn array(number: usize, len: usize) -> Array<f64> {
    Array::from((0..len).map(|at| (number * len + at) as f64).collect::<Vec<_>>())
}

/// A head that calls a worker, each with a context of its own.
struct Net {
    head: CommsManager,
    worker: CommsManager,
    contexts: [Context; 2],
}

impl Net {
    async fn new(contexts: [Context; 2]) -> Net {
        let config = |context: &Context| Config::default().address("127.0.0.1").context(context.clone());
        let head = CommsManager::start("monitor", Methods::new(), config(&contexts[0])).await.unwrap();
        let joining = config(&contexts[1]).monitor("127.0.0.1", head.port());
        let worker = CommsManager::start("worker", methods(), joining).await.unwrap();
        head.wait_for("worker").await.unwrap();
        Net { head, worker, contexts }
    }

    async fn call<R: serde::de::DeserializeOwned + Send + 'static>(
        &self,
        method: &str,
        value: &Array<f64>,
    ) -> R {
        let call = self.head.send_recv::<R>("worker", method, kwargs! { value: value });
        timeout(PATIENCE, call.into_future()).await.unwrap().unwrap()
    }

    fn shared(&self) -> [SharedMemory; 2] {
        self.contexts.each_ref().map(Context::shared_memory)
    }

    /// Stops both. Nothing is shared any more then.
    async fn stop(self) {
        self.head.stop().await;
        self.worker.stop().await;
        for shared in self.contexts.map(|context| context.shared_memory()) {
            assert_eq!((shared.lent, shared.borrowed), (0, 0));
        }
    }
}

fn methods() -> Methods {
    let kept = Arc::new(Mutex::new(Vec::new()));
    let (keeping, telling, letting_go) = (kept.clone(), kept.clone(), kept);
    Methods::new()
        .method("echo", |args, _| async move { Ok(args.get::<Array<f64>>("value")?) })
        .method("sum", |args, _| async move { Ok(sum(&args.get("value")?)) })
        .method("place", |args, _| async move { Ok(place_of(&args.get("value")?)) })
        .method("places", |args, _| async move {
            Ok([place_of(&args.get("first")?), place_of(&args.get("second")?)])
        })
        .method("change", |args, _| async move { change(args) })
        .method("keep", move |args, _| {
            let value = args.get::<Array<f64>>("value");
            let keeping = keeping.clone();
            async move {
                keeping.lock().push(value?);
                Ok(())
            }
        })
        .method("kept", move |_, _| {
            let sums: Vec<f64> = telling.lock().iter().map(sum).collect();
            async move { Ok(sums) }
        })
        .method("let_go", move |_, _| {
            letting_go.lock().clear();
            async { Ok(()) }
        })
}

fn sum(array: &Array<f64>) -> f64 {
    array.as_slice().iter().sum()
}

/// Changes an array where it lies.
fn change(args: mosaic_comms::Args) -> Result<f64, HandlerError> {
    let mut value = args.get::<Array<f64>>("value")?;
    drop(args);
    value.as_slice_mut().unwrap().iter_mut().for_each(|element| *element += 1.0);
    Ok(sum(&value))
}

/// What the kernel calls the memory that the array lies in.
fn place_of(array: &Array<f64>) -> String {
    let address = array.as_slice().as_ptr().addr();
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let holds = |line: &&str| {
        let (start, end) = line.split_once(' ').unwrap().0.split_once('-').unwrap();
        let [start, end] = [start, end].map(|text| usize::from_str_radix(text, 16).unwrap());
        (start..end).contains(&address)
    };
    maps.lines().find(holds).unwrap().to_owned()
}

/// Cuts all connections by Unix sockets of this context.
fn cut(context: &Context) {
    let own = pidfd_open(getpid(), PidfdFlags::empty()).unwrap();
    for number in context.descriptors().unwrap() {
        let Ok(descriptor) = pidfd_getfd(&own, number, PidfdGetfdFlags::empty()) else { continue };
        if is_connection(&descriptor) {
            shutdown(&descriptor, Shutdown::Both).unwrap();
        }
    }
}

/// Whether it is a connection to a socket that has a path, or from one: tokio has others.
fn is_connection(descriptor: &OwnedFd) -> bool {
    let Ok(Some(peer)) = getpeername(descriptor) else { return false };
    let names = [Some(peer), getsockname(descriptor).ok()];
    let has_path = |name| SocketAddrUnix::try_from(name).is_ok_and(|name| name.path().is_some());
    names.into_iter().flatten().any(has_path)
}

#[tokio::test(flavor = "multi_thread")]
async fn large_arrays_go_both_ways_by_one_copy_each() {
    let net = Net::new([context(), context()]).await;
    for number in 0..20 {
        let sent = array(number, MIB);
        assert_eq!(net.call::<Array<f64>>("echo", &sent).await, sent);
    }
    // The first goes by the socket; others may if memory was not given back in time.
    for shared in net.shared() {
        assert!(shared.copied >= 5 << 20 && shared.copied <= 19 << 20, "{shared:?}");
        assert_eq!(shared.copied % (1 << 20), 0);
        assert!(shared.lent > 0 && shared.borrowed > 0, "{shared:?}");
    }
    net.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn both_sides_count_what_is_shared_as_if_it_had_been_written() {
    let net = Net::new([context(), context()]).await;
    let sent = array(0, MIB);
    for _ in 0..20 {
        assert_eq!(net.call::<Array<f64>>("echo", &sent).await, sent);
    }
    // What has been written may not be read yet, and what has been read not be noted as written.
    let agreed = async {
        loop {
            let [here, there] = [net.head.link_state("worker"), net.worker.link_state("monitor")];
            let [here, there] = [here, there].map(|link| link.unwrap().counters);
            if (here.bytes_sent, here.bytes_received) == (there.bytes_received, there.bytes_sent) {
                return [here.bytes_sent, there.bytes_sent];
            }
            tokio::task::yield_now().await;
        }
    };
    let sent = timeout(PATIENCE, agreed).await.unwrap();
    assert!(sent.iter().all(|&bytes| bytes > 20 << 20), "{sent:?}");
    assert!(net.shared().iter().all(|shared| shared.copied > 0));
    net.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_received_array_lies_in_the_memory_of_the_sender() {
    let net = Net::new([context(), context()]).await;
    let sent = array(0, MIB);
    let mut places = Vec::new();
    for _ in 0..20 {
        places.push(net.call::<String>("place", &sent).await);
    }
    let shared = places.iter().filter(|place| place.contains("/memfd:mosaic")).count();
    assert_eq!(net.shared()[0].copied, (shared as u64) << 20);
    assert!(shared >= 5, "{places:?}");
    net.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_received_array_may_be_changed_and_the_sent_one_stays() {
    let net = Net::new([context(), context()]).await;
    let sent = array(0, MIB);
    let before = sum(&sent);
    for _ in 0..10 {
        assert_eq!(net.call::<f64>("change", &sent).await, before + MIB as f64);
    }
    assert_eq!(sum(&sent), before);
    assert!(net.shared()[0].copied > 0);
    net.stop().await;
}

/// The number of the file that memory of this kind is of.
fn file(place: &str) -> &str {
    place.split_whitespace().nth(4).unwrap()
}

/// Changes an array once nobody of this process shares it: who has written it may still be about to let go of it.
async fn changed(array: &mut Array<f64>, change: impl Fn(&mut [f64])) {
    let alone = async {
        while array.as_slice_mut().is_none() {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, alone).await.unwrap();
    change(array.as_slice_mut().unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lendable_array_is_received_where_it_lies_and_changed_between_calls() {
    let net = Net::new([context(), context()]).await;
    let mut sent = array(0, MIB).lendable(&net.contexts[0]);
    assert_eq!(sent, array(0, MIB));
    let mut in_place = 0;
    for round in 0..20 {
        changed(&mut sent, |elements| elements[round] = 0.5).await;
        // It has moved if the worker still had it.
        if !place_of(&sent).contains("/memfd:mosaic") {
            sent = sent.lendable(&net.contexts[0]);
        }
        assert_eq!(net.call::<f64>("sum", &sent).await, sum(&sent));
        let there: String = net.call("place", &sent).await;
        in_place += usize::from(file(&there) == file(&place_of(&sent)));
    }
    assert!(in_place >= 5, "{in_place} of 20");
    drop(sent);
    net.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lendable_arrays_that_go_in_one_message_are_both_received_where_they_lie() {
    let net = Net::new([context(), context()]).await;
    let sent = [0, 1].map(|number| array(number, MIB).lendable(&net.contexts[0]));
    let mut in_place = [0, 0];
    for _ in 0..20 {
        let args = kwargs! { first: &sent[0], second: &sent[1] };
        let call = net.head.send_recv::<[String; 2]>("worker", "places", args);
        let there = timeout(PATIENCE, call.into_future()).await.unwrap().unwrap();
        for which in [0, 1] {
            in_place[which] += usize::from(file(&there[which]) == file(&place_of(&sent[which])));
        }
    }
    assert!(in_place.iter().all(|&count| count >= 5), "{in_place:?} of 20");
    drop(sent);
    net.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lendable_array_that_its_receiver_keeps_moves_when_it_is_changed() {
    let net = Net::new([context(), context()]).await;
    let mut sent = array(0, MIB).lendable(&net.contexts[0]);
    let (here, mut sums) = (sent.as_slice().as_ptr(), Vec::new());
    for round in 0..5 {
        changed(&mut sent, |elements| elements[round] = 0.5).await;
        sums.push(sum(&sent));
        net.call::<()>("keep", &sent).await;
    }
    assert_ne!(sent.as_slice().as_ptr(), here);
    let kept: Vec<f64> = net.head.send_recv("worker", "kept", ()).await.unwrap();
    assert_eq!(kept, sums);
    drop(sent);
    net.head.send_recv::<()>("worker", "let_go", ()).await.unwrap();
    net.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_receiver_changes_of_a_lendable_array_the_sender_does_not_see() {
    let net = Net::new([context(), context()]).await;
    let sent = array(0, MIB).lendable(&net.contexts[0]);
    let before = sum(&sent);
    for _ in 0..10 {
        assert_eq!(net.call::<f64>("change", &sent).await, before + MIB as f64);
        assert_eq!(sum(&sent), before);
    }
    drop(sent);
    net.stop().await;
}

#[test]
fn an_array_is_lendable_as_far_as_there_is_memory() {
    let context = sharing(1 << 20);
    let [first, second] = [0, 1].map(|number| array(number, MIB).lendable(&context));
    assert_eq!(context.shared_memory().lent, 1 << 20);
    assert!(place_of(&first).contains("/memfd:mosaic") && !place_of(&second).contains("/memfd:mosaic"));
    assert_eq!((&first, &second), (&array(0, MIB), &array(1, MIB)));
    drop(first);
    assert_eq!(array(2, 100).lendable(&context), array(2, 100));
    assert_eq!(context.shared_memory().lent, 0, "few elements stay where they are");
    let truths = Array::from(vec![true; 1 << 20]).lendable(&context);
    assert_eq!((truths.as_slice()[7], context.shared_memory().lent), (true, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn arrays_that_are_kept_stay_as_they_came_however_many() {
    let net = Net::new([context(), context()]).await;
    let len = MIB / 4;
    for round in 0..2 {
        let sent: Vec<_> = (0..80).map(|number| array(round * 80 + number, len)).collect();
        for array in &sent {
            net.call::<()>("keep", array).await;
        }
        let kept: Vec<f64> = net.head.send_recv("worker", "kept", ()).await.unwrap();
        assert_eq!(kept, sent.iter().map(sum).collect::<Vec<_>>());
        // As many as a connection may have regions, and no more, are with the worker.
        assert!(net.shared()[0].lent <= 64 * (len * 8), "{:?}", net.shared());
        net.head.send_recv::<()>("worker", "let_go", ()).await.unwrap();
    }
    assert!(net.shared()[0].copied > 64 * (len as u64 * 8), "what was given back is used again");
    net.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_shared_memory_on_one_side_arrays_go_by_the_socket() {
    for contexts in [[sharing(0), context()], [context(), sharing(0)]] {
        let net = Net::new(contexts).await;
        for number in 0..5 {
            let sent = array(number, MIB);
            assert_eq!(net.call::<Array<f64>>("echo", &sent).await, sent);
        }
        for shared in net.shared() {
            assert_eq!(shared, SharedMemory::default());
        }
        net.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn beyond_the_limit_of_either_side_arrays_go_by_the_socket() {
    for contexts in [[sharing(3 << 20), context()], [context(), sharing(3 << 20)]] {
        let net = Net::new(contexts).await;
        for number in 0..5 {
            let sent = array(number, 4 * MIB);
            assert_eq!(net.call::<Array<f64>>("echo", &sent).await, sent);
        }
        for shared in net.shared() {
            assert_eq!((shared.borrowed, shared.copied), (0, 0));
        }
        net.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_that_is_lent_and_borrowed_stays_within_the_limit_whatever_the_sizes() {
    let limit = 8 << 20;
    let net = Net::new([sharing(limit), sharing(limit)]).await;
    for number in 0..40 {
        let sent = array(number, MIB * (1 + number % 5));
        assert_eq!(net.call::<Array<f64>>("echo", &sent).await, sent);
        for shared in net.shared() {
            assert!(shared.lent <= limit && shared.borrowed <= limit, "{shared:?}");
        }
    }
    assert!(net.shared()[0].copied > 0);
    net.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_cut_loses_and_repeats_nothing_of_what_is_in_shared_memory() {
    let net = Net::new([context(), context()]).await;
    for round in 0..2 {
        let arrays: Vec<_> = (0..30).map(|number| array(round * 30 + number, MIB / 2)).collect();
        let calls = arrays.iter().map(|array| net.call::<()>("keep", array));
        let cuts = async {
            for _ in 0..2 {
                net.call::<f64>("sum", &arrays[0]).await;
                cut(&net.contexts[0]);
            }
        };
        tokio::join!(futures_util::future::join_all(calls), cuts);
        let mut kept: Vec<f64> = net.head.send_recv("worker", "kept", ()).await.unwrap();
        let mut sent: Vec<f64> = arrays.iter().map(sum).collect();
        kept.sort_by(f64::total_cmp);
        sent.sort_by(f64::total_cmp);
        assert_eq!(kept, sent);
        net.head.send_recv::<()>("worker", "let_go", ()).await.unwrap();
    }
    assert!(net.shared()[0].copied > 0);
    net.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_descriptors_get_lost_arrays_go_by_the_socket() {
    let [here, there] = [context(), context()];
    let keys = tempfile::tempdir().unwrap();
    let key = keys.path().join("job.key");
    Credential::create(&key).unwrap();
    let config =
        |context: &Context| Config::default().address("127.0.0.1").context(context.clone()).key_file(&key);
    let worker = CommsManager::start("worker", methods(), config(&there)).await.unwrap();
    let head = CommsManager::start("head", Methods::new(), config(&here)).await.unwrap();
    let proxy = Proxy::unix(worker.port()).await;
    head.connect_send("worker", "127.0.0.1", proxy.port()).await.unwrap();
    for number in 0..5 {
        let sent = array(number, MIB);
        let back: Array<f64> = head.send_recv("worker", "echo", kwargs! { value: &sent }).await.unwrap();
        assert_eq!(back, sent);
    }
    assert_eq!(proxy.made(), 2, "no connection was lost for it");
    assert_eq!((here.shared_memory().copied, there.shared_memory().borrowed), (0, 0));
    assert!(here.shared_memory().lent > 0, "it was tried");
    head.stop().await;
    worker.stop().await;
    assert_eq!(here.shared_memory().lent, 0);
}

/// Reads the greeting and the READY that answer ours.
fn answer(stream: &mut UnixStream) -> Ready {
    let mut greeting = [0; 64];
    stream.read_exact(&mut greeting).unwrap();
    let mut receiver = Receiver::<Vec<u8>>::new(mosaic_comms::Limits::default());
    loop {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        match receiver.feed(&mut &byte[..], 0, &mut NoBuffers).unwrap() {
            Some(mosaic_proto::wire::Item::Command(Command::Ready(ready))) => return ready,
            Some(other) => panic!("{other:?}"),
            None => {}
        }
    }
}

struct NoBuffers;

impl mosaic_proto::wire::Buffers for NoBuffers {
    type Buffer = Vec<u8>;

    fn allocate(&mut self, len: usize) -> Vec<u8> {
        panic!("{len} bytes came where READY belongs")
    }
}

/// Connects to the Unix socket of a manager as a stranger's lane, and reads what it answers.
fn lane(
    manager: &CommsManager,
    lane: Lane,
    session: Session,
) -> (UnixStream, mosaic_proto::wire::MosaicReady) {
    let path = mosaic_comms::socket_folder().join(format!("{}.sock", manager.port()));
    let mut stream = UnixStream::connect(path).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(&greeted(&Command::Ready(stranger(lane, session)))).unwrap();
    let ready = answer(&mut stream).mosaic.unwrap();
    (stream, ready)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_content_that_was_not_lent_costs_the_connection() {
    let net = Net::new([context(), context()]).await;
    let (_control, ready) = lane(&net.worker, Lane::Control, Session::NONE);
    assert!(!ready.looks_elsewhere, "large contents go by data lanes only");
    let (mut data, ready) = lane(&net.worker, Lane::Data, ready.session);
    assert!(ready.looks_elsewhere);
    // A message whose body is in region 7, of which nobody has heard.
    let mut wire = message("sum", 0);
    wire.truncate(wire.len() - 5);
    FrameHeader { more: false, command: false, elsewhere: true, len: 6 }.encode(&mut wire);
    wire.extend([0x93, 7, 0xcd, 0x10, 0x00, 64]);
    data.write_all(&wire).unwrap();
    read_to_end(data).await;
    let sent = array(1, MIB);
    assert_eq!(net.call::<f64>("sum", &sent).await, sum(&sent), "the others go on");
    net.stop().await;
}

async fn processes() -> Network {
    let builder = Network::builder().workers(2);
    builder.arguments(["--exact", "worker_process", "--nocapture"]).start().await.unwrap()
}

/// Waits until this holds of what is shared, for as long as the other worker answers.
async fn until(network: &Network, holds: impl Fn(SharedMemory) -> bool) {
    let context = Context::global().unwrap();
    let waiting = async {
        while !holds(context.shared_memory()) {
            network.head().send_recv::<Vec<f64>>("worker:1", "kept", ()).await.unwrap();
        }
    };
    timeout(PATIENCE, waiting).await.unwrap();
}

async fn kill(network: &Network) {
    let mut events = network.head().events();
    network.workers()[0].kill();
    let ended = async {
        loop {
            match events.next().await.unwrap() {
                Event::Disconnected { uid, .. } if uid == "worker:0" => return,
                _ => {}
            }
        }
    };
    timeout(PATIENCE, ended).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_killed_process_had_borrowed_is_ours_again() {
    let network = processes().await;
    let sent = array(3, MIB);
    for _ in 0..20 {
        network.head().send_recv::<()>("worker:0", "keep", kwargs! { value: &sent }).await.unwrap();
    }
    assert!(Context::global().unwrap().shared_memory().lent > 0);
    // In the midst of others.
    let calls = (0..20).map(|_| network.head().send_recv::<()>("worker:0", "keep", kwargs! { value: &sent }));
    let calls = futures_util::future::join_all(calls.map(IntoFuture::into_future));
    let (ended, ()) = tokio::join!(timeout(PATIENCE, calls), kill(&network));
    ended.unwrap();
    until(&network, |shared| shared.lent == 0).await;
    network.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_killed_process_had_lent_stays_until_it_is_dropped() {
    let network = processes().await;
    let sent = array(5, MIB);
    let mut kept = Vec::new();
    for _ in 0..20 {
        let back = network.head().send_recv::<Array<f64>>("worker:0", "echo", kwargs! { value: &sent });
        kept.push(back.await.unwrap());
    }
    let shared = kept.iter().filter(|array| place_of(array).contains("/memfd:mosaic")).count();
    assert!(shared >= 5, "{shared} of 20 lie in memory of the worker's");
    kill(&network).await;
    for array in &kept {
        assert!(*array == sent);
    }
    until(&network, |shared| shared.borrowed == shared_by(&kept)).await;
    drop(kept);
    until(&network, |shared| shared.borrowed == 0).await;
    network.stop().await;
}

/// Bytes of the regions in which these arrays lie.
fn shared_by(kept: &[Array<f64>]) -> usize {
    kept.iter().filter(|array| place_of(array).contains("/memfd:mosaic")).count() << 20
}

#[test]
fn worker_process() {
    worker(|_: &Uid| methods()).unwrap();
}
