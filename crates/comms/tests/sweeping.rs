//! Sockets that killed processes have left. It is a program of its own, since a process looks for them with its first bind.

use std::os::unix::fs::DirBuilderExt;
use std::os::unix::net::UnixListener;

use mosaic_comms::{CommsManager, Config, Methods, socket_folder};

#[tokio::test]
async fn whoever_binds_first_removes_sockets_at_which_nobody_listens() {
    let folder = socket_folder();
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder).unwrap();
    // No runtime of a test has one of these ports.
    let [dead, alive, other, unrelated] =
        ["1.sock", "2.sock", "3.sock", "unrelated.sock"].map(|name| folder.join(name));
    for path in [&dead, &alive, &other, &unrelated] {
        let _ = std::fs::remove_file(path);
    }
    drop(UnixListener::bind(&dead).unwrap());
    let listener = UnixListener::bind(&alive).unwrap();
    std::fs::write(&other, "not a socket").unwrap();
    drop(UnixListener::bind(&unrelated).unwrap());

    let comms = CommsManager::start("monitor", Methods::new(), Config::default().address("127.0.0.1"));
    let comms = comms.await.unwrap();
    let there = [&dead, &alive, &other, &unrelated].map(|path| path.exists());
    for path in [&alive, &other, &unrelated] {
        let _ = std::fs::remove_file(path);
    }
    comms.stop().await;
    assert_eq!(there, [false, true, true, true]);
    drop(listener);
}
