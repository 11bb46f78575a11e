//! What Prometheus gets from a monitor.

use std::io::{Read, Write};
use std::net::TcpStream;

use crate::home::{Home, assert_told};

/// Everything that comes for a request.
fn ask(place: &str, request: &str) -> String {
    let mut stream = TcpStream::connect(place).unwrap();
    write!(stream, "{request} HTTP/1.1\r\nHost: {place}\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

#[test]
fn a_monitor_tells_prometheus_of_every_runtime() {
    let home = Home::new();
    let mut monitor = home.start(&["monitor", "--address", "127.0.0.1", "--metrics-port", "0"]);
    let port = monitor.line().rsplit_once('=').unwrap().1.to_owned();
    let url = monitor.line();
    let place = url.strip_prefix("http://").and_then(|url| url.strip_suffix("/metrics")).unwrap();
    let mut follower = home.start(&["events", "--monitor", &format!("127.0.0.1:{port}")]);
    follower.line();
    let uid = format!("mosaic:{}", follower.child.id());

    let told = ask(place, "GET /metrics");
    assert!(told.starts_with("HTTP/1.1 200 OK\r\n"), "{told}");
    for runtime in ["monitor", &uid] {
        assert!(told.contains(&format!("mosaic_up{{runtime=\"{runtime}\"}} 1")), "{told}");
        let received = format!("mosaic_messages_received_total{{runtime=\"{runtime}\",life=\"");
        assert!(told.contains(&received), "{told}");
    }
    assert!(told.contains("# TYPE mosaic_bytes_sent_total counter"), "{told}");
    assert!(told.contains("# HELP mosaic_links Links, by their condition."), "{told}");
    assert!(ask(place, "GET /").starts_with("HTTP/1.1 404 Not Found"));
    assert!(ask(place, "POST /metrics").starts_with("HTTP/1.1 405 Method Not Allowed"));

    let taken = place.rsplit_once(':').unwrap().1;
    let second = home.told(&["monitor", "--address", "127.0.0.1", "--metrics-port", taken]);
    assert_told!("metrics_port_that_is_taken", second.replace(taken, "PORT"));
    assert_eq!(follower.end().0, 0);
    assert_eq!(monitor.end().0, 0);
}
