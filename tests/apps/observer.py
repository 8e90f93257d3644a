#!/usr/bin/env python3
"""Watches a client and a server from the loopback between them, and tells what became of each request.

  PORT OUTPUT [--beside COMMAND...] -- COMMAND...

It has to be PID 1 of its own PID namespace, in a network namespace of its own. It brings the loopback up, starts the
command beside, if there is one, runs the command to its end, and ends as that did. Then OUTPUT has what passed between
any client and 127.0.0.1:PORT, as JSON: a list of requests, by the time at which they were begun, each with

  port         the client's
  first        it is its connection's first
  begun, sent  when its connection was begun (its SYN), and the first byte of the request; none if none was sent
  path         what was asked for
  outcome      ok | ok-close | status | refused | reset | reset-in-answer | truncated
               unanswered    the SYN got no answer
               given-up, given-up-in-answer
                             the client closed the connection before the answer began, or before it was complete
               open          neither had happened when the command was over
  status       the answer's, if its head came
  ended        when that was certain: the segment's time
  length       the bytes of the body, if its only end was that of the connection

Nothing here is the client's or the server's: the frames are the kernel's (AF_PACKET), with the times at which it handed
them on (SO_TIMESTAMPNS), in seconds since 1970. They wait in the socket's buffer until the command is over, so that
the observer takes no time from those that it observes. A frame that was lost is a failure.

The drill's times are those at which its thread got to know something, and on a machine that is busy a thread waits for a
processor. So that what differs is the drill and not the machine, that thread (drill-load) is put before all others, and
all that runs here before the rest of the machine, where the observer may do so.
"""

import fcntl
import json
import os
import socket
import struct
import subprocess
import sys
import time

SO_RCVBUFFORCE, SO_TIMESTAMPNS = 33, 35
SOL_PACKET, PACKET_STATISTICS = 263, 6
SIOCSIFFLAGS, IFF_UP, IFF_RUNNING = 0x8914, 0x1, 0x40
ETH_P_IP = 0x0800
FIN, SYN, RST, ACK = 1, 2, 4, 16
BUFFER = 128 << 20


def loopback():
    """A socket that receives every frame of the loopback once."""
    with socket.socket() as any_socket:
        fcntl.ioctl(any_socket, SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", IFF_UP | IFF_RUNNING))
    packets = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, 0)
    packets.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, BUFFER)
    packets.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
    # By this protocol alone those that arrive are seen, and not those that leave, too.
    packets.bind(("lo", ETH_P_IP))
    return packets


def frames(packets):
    """All that has come: time and bytes from the IP header on."""
    while True:
        try:
            data, ancillary, _, _ = packets.recvmsg(1 << 17, 64, socket.MSG_DONTWAIT)
        except BlockingIOError:
            break
        seconds, nanoseconds = struct.unpack("qq", ancillary[0][2])
        yield seconds + nanoseconds / 1e9, data
    _, lost = struct.unpack("II", packets.getsockopt(SOL_PACKET, PACKET_STATISTICS, 8))
    if lost:
        sys.exit(f"observer: {lost} frames were lost")


class Way:
    """One direction of a connection: its bytes in order, and when each had come."""

    def __init__(self):
        self.data, self.times, self.next, self.early = bytearray(), [], None, {}
        self.fin = self.rst = None

    def take(self, at, flags, sequence, payload):
        if flags & RST:
            self.rst = self.rst or at
            return
        if flags & SYN:
            self.next = (sequence + 1) % 2**32
            return
        self.early.setdefault(sequence, (payload, flags & FIN))
        while self.next in self.early:
            payload, fin = self.early.pop(self.next)
            if payload:
                self.data += payload
                self.times.append((len(self.data), at))
            self.next = (self.next + len(payload) + (1 if fin else 0)) % 2**32
            if fin:
                self.fin = self.fin or at
                break

    def at(self, count):
        """When so many bytes had come."""
        return next(at for total, at in self.times if total >= count)


class Connection:
    def __init__(self, port, begun):
        self.port, self.begun = port, begun
        self.asked, self.answered, self.accepted = Way(), Way(), False


def connections(packets, server):
    """The connections to the server's port, in the order in which they were begun."""
    current, every = {}, []
    for at, data in frames(packets):
        header = (data[0] & 15) * 4
        if data[9] != socket.IPPROTO_TCP:
            continue
        total = struct.unpack("!H", data[2:4])[0] or len(data)
        source, target, sequence, _, offset, flags = struct.unpack("!HHIIBB", data[header : header + 14])
        payload = bytes(data[header + (offset >> 4) * 4 : total])
        if target == server:
            if flags & SYN and not flags & ACK:
                old = current.get(source)
                # A SYN that is sent again is none of a new connection.
                if old is None or old.asked.next != (sequence + 1) % 2**32:
                    current[source] = Connection(source, at)
                    every.append(current[source])
            if source in current:
                current[source].asked.take(at, flags, sequence, payload)
        elif source == server and target in current:
            connection = current[target]
            connection.accepted |= flags & SYN != 0
            connection.answered.take(at, flags, sequence, payload)
    return every


def head(data, start):
    """The first line, the headers and the end of the head that begins there; none if it is not whole."""
    end = data.find(b"\r\n\r\n", start)
    if end < 0:
        return None
    first, *lines = bytes(data[start:end]).decode("latin-1").split("\r\n")
    fields = {}
    for line in lines:
        name, _, value = line.partition(":")
        fields.setdefault(name.strip().lower(), []).append(value.strip())
    return first, fields, end + 4


def chunked_end(data, start):
    """Where the body that begins there ends; none if it does not."""
    at = start
    while True:
        line = data.find(b"\r\n", at)
        if line < 0:
            return None
        size = int(bytes(data[at:line]).split(b";")[0], 16)
        at = line + 2
        if size:
            at += size + 2
            if at > len(data):
                return None
            continue
        while True:
            line = data.find(b"\r\n", at)
            if line < 0:
                return None
            if line == at:
                return line + 2
            at = line + 2


def body(data, start, status, fields):
    """Where the body of an answer to GET ends (none if it does not), and whether that is the connection's doing."""
    if status in (204, 304):
        return start, False
    if any("chunked" in value.lower() for value in fields.get("transfer-encoding", [])):
        return chunked_end(data, start), False
    if "content-length" in fields:
        end = start + int(fields["content-length"][0])
        return (end if end <= len(data) else None), False
    return None, True


def ends(connection, since):
    """How it ended at or after that time: by whom, how and when, the first first."""
    found = []
    for who, way in (("server", connection.answered), ("client", connection.asked)):
        for how, at in (("fin", way.fin), ("rst", way.rst)):
            if at is not None:
                found.append((max(at, since), who, how))
    # A request that comes after the server's FIN is answered by its RST.
    return sorted(found)


def broken_off(connection, since, in_answer):
    """The outcome of a request whose answer is not whole, and when."""
    for at, who, how in ends(connection, since):
        if who == "client":
            return ("given-up-in-answer" if in_answer else "given-up"), at
        if not in_answer:
            return "reset", at
        return ("reset-in-answer" if how == "rst" else "truncated"), at
    return "open", None


def answer(connection, start, sent):
    """What came after these bytes: outcome, status, when, length, and where the next answer begins."""
    way = connection.answered
    while True:
        found = head(way.data, start)
        if found is None:
            outcome, at = broken_off(connection, sent, len(way.data) > start)
            return outcome, None, at, None, None
        first, fields, begin = found
        status = int(first.split(" ")[1])
        if status >= 200:
            break
        start = begin
    end, by_connection = body(way.data, begin, status, fields)
    words = [word.strip().lower() for value in fields.get("connection", []) for word in value.split(",")]
    good = "status" if not 200 <= status < 300 else "ok-close" if "close" in words else "ok"
    if by_connection and ends(connection, sent)[:1] and ends(connection, sent)[0][1:] == ("server", "fin"):
        return good, status, way.fin, len(way.data) - begin, None
    if end is None:
        outcome, at = broken_off(connection, sent, True)
        return outcome, status, at, None, None
    return good, status, way.at(end), None, end


def requests(connection):
    common = {"port": connection.port, "begun": connection.begun}
    if not connection.accepted:
        refused = connection.answered.rst
        outcome = "refused" if refused else "unanswered"
        yield common | {"first": True, "sent": None, "path": None, "outcome": outcome, "status": None, "ended": refused}
        return
    way, at, next_answer, first = connection.asked, 0, 0, True
    while at < len(way.data):
        sent = way.at(at + 1)
        line, _, at = head(way.data, at)
        result = ("open", None, None, None, None) if next_answer is None else answer(connection, next_answer, sent)
        outcome, status, ended, length, next_answer = result
        yield common | {
            "first": first,
            "sent": sent,
            "path": line.split(" ")[1],
            "outcome": outcome,
            "status": status,
            "ended": ended,
        } | ({} if length is None else {"length": length})
        first = False
    if first:
        outcome, ended = broken_off(connection, connection.begun, False)
        yield common | {"first": True, "sent": None, "path": None, "outcome": outcome, "status": None, "ended": ended}


def put_first():
    """All that runs here comes before the rest of the machine (sched(7), "The autogroup feature")."""
    os.setsid()
    try:
        with open("/proc/self/autogroup", "w") as file:
            file.write("-10")
    except OSError:
        pass


def put_thread_first(pid):
    """The drill's thread of the load comes before all others; whether it was there."""
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/comm") as file:
            if file.read() != "drill-load\n":
                continue
        try:
            os.sched_setscheduler(int(task), os.SCHED_RR, os.sched_param(1))
        except OSError:
            pass
        return True
    return False


def reap(pid):
    """Waits for this child, and for whatever else ends as an orphan."""
    is_first = False
    while True:
        ended, status = os.waitpid(-1, 0 if is_first else os.WNOHANG)
        if ended == pid:
            return os.waitstatus_to_exitcode(status)
        if not is_first:
            try:
                is_first = put_thread_first(pid)
            except OSError:
                # A thread that has just ended.
                pass
            time.sleep(0.005)


def main():
    port, output, *rest = sys.argv[1:]
    split = rest.index("--")
    beside, command = rest[1:split], rest[split + 1 :]
    packets = loopback()
    put_first()
    if beside:
        subprocess.Popen(beside, stdout=sys.stderr)
        deadline = time.monotonic() + 20
        while True:
            try:
                socket.create_connection(("127.0.0.1", int(beside[-1])), 1).close()
                break
            except OSError:
                if time.monotonic() > deadline:
                    sys.exit("observer: what is to run beside does not listen")
                time.sleep(0.02)
    code = reap(subprocess.Popen(command).pid)
    every = [request for connection in connections(packets, int(port)) for request in requests(connection)]
    every.sort(key=lambda request: request["sent"] or request["begun"])
    with open(output, "w") as file:
        json.dump(every, file)
    sys.exit(code if code >= 0 else 128 - code)


main()
