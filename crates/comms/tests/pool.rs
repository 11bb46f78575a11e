//! Receive buffers: aligned, used again, within their bound.

use mosaic_comms::{ALIGNMENT, Pool, Received};

fn address(bytes: impl AsRef<[u8]>) -> usize {
    bytes.as_ref().as_ptr().addr()
}

#[test]
fn buffers_have_their_length_and_alignment() {
    let pool = Pool::default();
    for len in [0, 1, 63, 4095, 4096, 4097, 100_000, 1 << 20, (1 << 20) + 1] {
        let mut buffer = pool.take(len);
        assert_eq!(buffer.as_ref().len(), len);
        assert_eq!(buffer.as_mut().len(), len);
        assert_eq!(address(&buffer) % ALIGNMENT, 0, "{len} bytes");
    }
}

#[test]
fn a_buffer_is_used_again_as_it_was_left() {
    let pool = Pool::new(1 << 20);
    let mut buffer = pool.take(100_000);
    buffer.as_mut().fill(7);
    let before = address(&buffer);
    drop(buffer);
    let again = pool.take(99_000);
    assert_eq!(address(&again), before);
    assert!(again.as_ref().iter().all(|&byte| byte == 7));
    assert_eq!(pool.idle_bytes(), 0);
}

#[test]
fn a_buffer_in_use_is_nobody_elses() {
    let pool = Pool::new(1 << 20);
    let one = pool.take(50_000);
    let other = pool.clone().take(50_000);
    assert_ne!(address(&one), address(&other));
}

#[test]
fn idle_bytes_stay_within_the_bound() {
    let pool = Pool::new(300_000);
    let buffers: Vec<_> = (0..20).map(|index| pool.take(10_000 + 5_000 * index)).collect();
    for buffer in buffers {
        drop(buffer);
        assert!(pool.idle_bytes() <= 300_000);
    }
    assert!(pool.idle_bytes() > 150_000, "most of what may be kept is kept");
    pool.set_keep(20_000);
    assert!(pool.idle_bytes() <= 20_000);
    pool.set_keep(0);
    assert_eq!(pool.idle_bytes(), 0);
}

#[test]
fn a_buffer_larger_than_the_bound_is_let_go() {
    let pool = Pool::new(50_000);
    drop(pool.take(20_000));
    let idle = pool.idle_bytes();
    drop(pool.take(1 << 20));
    assert_eq!(pool.idle_bytes(), idle);
}

#[test]
fn small_buffers_are_left_to_the_allocator() {
    let pool = Pool::default();
    drop(pool.take(4095));
    assert_eq!(pool.idle_bytes(), 0);
}

#[test]
fn buffers_go_back_from_any_thread() {
    let pool = Pool::new(1 << 20);
    let received = Received::from(pool.take(10_000));
    std::thread::spawn(move || drop(received)).join().expect("the thread ends well");
    assert!(pool.idle_bytes() >= 10_000);
}
