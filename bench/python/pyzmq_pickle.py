"""pyzmq with pickled tuples, a ROUTER on each side over TCP: what a program does that has nothing else."""

import pickle
import time

import numpy
import zmq

from measuring import Server, main

SERVER, CLIENT = b"server", b"client"


class Router:
    """A ROUTER that talks to one peer."""

    def __init__(self, own, to):
        self.socket = zmq.Context.instance().socket(zmq.ROUTER)
        self.socket.setsockopt(zmq.IDENTITY, own)
        # Back-pressure in place of loss.
        self.socket.setsockopt(zmq.ROUTER_MANDATORY, 1)
        self.socket.setsockopt(zmq.LINGER, 0)
        self.to = to

    def send(self, method, value):
        arrays = []
        body = pickle.dumps((method, value), protocol=5, buffer_callback=arrays.append)
        # Arrays go beside the pickle, from where they lie; small messages are quicker when copied.
        self.socket.send_multipart([self.to, body, *arrays], copy=not arrays)

    def receive(self):
        self.socket.recv()
        body, arrays = self.socket.recv(), []
        while self.socket.getsockopt(zmq.RCVMORE):
            arrays.append(self.socket.recv(copy=False))
        return pickle.loads(body, buffers=arrays)

    def call(self, method, value):
        self.send(method, value)
        return self.receive()

    def wait_for_peer(self):
        """A ROUTER can't send before it knows its peer, and nothing tells it when it does."""
        for _ in range(5000):
            try:
                return self.send("note", None)
            except zmq.ZMQError as error:
                if error.errno != zmq.EHOSTUNREACH:
                    raise
                time.sleep(0.001)
        raise TimeoutError("the serving process did not connect")


def serve():
    router = Router(SERVER, CLIENT)
    port = router.socket.bind_to_random_port("tcp://127.0.0.1")
    print(port, flush=True)
    while True:
        method, value = router.receive()
        if method == "echo":
            router.send("reply", value)
        elif method == "take":
            router.send("reply", value.nbytes)


def measure(sheet):
    with Server() as server:
        router = Router(CLIENT, SERVER)
        router.socket.connect(f"tcp://127.0.0.1:{server.line()}")
        router.wait_for_peer()
        for figure, size in [("64", 64), ("1k", 1 << 10), ("64k", 64 << 10)]:
            payload = bytes(size)
            sheet.write_times(f"round-trip-{figure}", sheet.times(lambda: router.call("echo", payload)))
        outstanding(router, sheet)
        one_way(router, sheet)
        for figure, size in [("array-1m", 1 << 20), ("array-64m", 64 << 20)]:
            array = numpy.ones(size // 8)
            times = sorted(sheet.times(lambda: router.call("take", array)))
            sheet.write(figure, size / times[len(times) // 2])


def outstanding(router, sheet):
    payload = bytes(64)
    sent = received = 0
    begun = time.perf_counter()
    while time.perf_counter() - begun < sheet.span:
        while sent - received < 64:
            router.send("echo", payload)
            sent += 1
        router.receive()
        received += 1
    sheet.write("outstanding-64", received / (time.perf_counter() - begun))
    for _ in range(sent - received):
        router.receive()


def one_way(router, sheet):
    payload = bytes(64)
    count, begun = 0, time.perf_counter()
    while time.perf_counter() - begun < sheet.span:
        for _ in range(1000):
            router.send("note", payload)
        count += 1000
    router.call("echo", payload)
    sheet.write("one-way-64", count / (time.perf_counter() - begun))


main(serve, measure)
