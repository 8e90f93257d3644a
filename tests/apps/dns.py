#!/usr/bin/env python3
"""DNS servers that behave and misbehave as told: dns.py CONFIG.json QUERIES.log

CONFIG has an entry for each address, all of them on port 53:

    {"127.0.0.1": {"zone": {"app.test": ["192.0.2.1", "2001:db8::1"]}, ...}}

    zone      name -> addresses; a name that is not there is NXDOMAIN, one with [] has no address
    rcode     answers this code to everything
    silent    answers nothing; with a list, nothing to these types: ["AAAA"]
    delay     seconds before each answer
    aliases   so many CNAME records before the addresses
    truncate  no answer fits over UDP
    stranger  before each answer one to another question, with a wrong address

Each query is a line of the log: address, udp or tcp, name, type. "ready" on standard output when all servers listen.
"""

import ipaddress
import json
import socket
import struct
import sys
import threading

TYPES = {1: "A", 28: "AAAA"}


def encoded(name):
    return b"".join(bytes([len(label)]) + label.encode() for label in name.split(".")) + b"\0"


def record(name, kind, data):
    return encoded(name) + struct.pack(">HHIH", kind, 1, 60, len(data)) + data


def read_question(message):
    at, labels = 12, []
    while message[at]:
        labels.append(message[at + 1:at + 1 + message[at]].decode("latin-1"))
        at += 1 + message[at]
    return ".".join(labels), struct.unpack(">H", message[at + 1:at + 3])[0], message[12:at + 5]


class Server:
    def __init__(self, address, config, log):
        self.address, self.config, self.log = address, config, log
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self.udp = socket.socket(family, socket.SOCK_DGRAM)
        self.udp.bind((address, 53))
        self.tcp = socket.socket(family, socket.SOCK_STREAM)
        self.tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.tcp.bind((address, 53))
        self.tcp.listen(64)

    def start(self):
        for serve in (self.serve_udp, self.serve_tcp):
            threading.Thread(target=serve, daemon=True).start()

    def serve_udp(self):
        while True:
            message, client = self.udp.recvfrom(4096)
            threading.Timer(self.config.get("delay", 0), self.answer_udp, (message, client)).start()

    def answer_udp(self, message, client):
        answer = self.answer(message, "udp")
        if answer and self.config.get("stranger"):
            name, kind, question = read_question(message)
            head = message[:2] + b"\x81\x80" + struct.pack(">HHHH", 1, 1, 0, 0)
            other = encoded("other." + name) + question[-4:]
            self.udp.sendto(head + other + record(name, 1, b"\x7f\x42\x42\x42"), client)
            self.udp.sendto(bytes([message[0] ^ 1]) + answer[1:], client)
        if answer:
            self.udp.sendto(answer, client)

    def serve_tcp(self):
        while True:
            threading.Thread(target=self.answer_tcp, args=(self.tcp.accept()[0],), daemon=True).start()

    def answer_tcp(self, stream):
        with stream, stream.makefile("rb") as lines:
            while length := lines.read(2):
                answer = self.answer(lines.read(struct.unpack(">H", length)[0]), "tcp")
                if answer:
                    stream.sendall(struct.pack(">H", len(answer)) + answer)

    def answer(self, message, transport):
        name, kind, question = read_question(message)
        kind_name = TYPES.get(kind, str(kind))
        self.log.write(f"{self.address} {transport} {name} {kind_name}\n")
        self.log.flush()
        silent = self.config.get("silent", [])
        if silent is True or kind_name in silent:
            return None
        zone = {key.lower(): value for key, value in self.config.get("zone", {}).items()}
        found = zone.get(name.lower())
        code = self.config.get("rcode", 3 if found is None else 0)
        records = []
        if code == 0:
            data = [ipaddress.ip_address(address).packed for address in found]
            addresses = [each for each in data if (len(each) == 4) == (kind == 1)]
            for number in range(self.config.get("aliases", 0)):
                alias = f"alias{number + 1}.test"
                records.append(record(name, 5, encoded(alias)))
                name = alias
            records += [record(name, kind, each) for each in addresses]
        flags = 0x8180 | code
        if transport == "udp" and self.config.get("truncate"):
            flags, records = flags | 0x0200, []
        return message[:2] + struct.pack(">HHHHH", flags, 1, len(records), 0, 0) + question + b"".join(records)


def main():
    with open(sys.argv[1]) as file:
        config = json.load(file)
    log = open(sys.argv[2], "a")
    servers = [Server(address, each, log) for address, each in config.items()]
    for server in servers:
        server.start()
    print("ready", flush=True)
    # Until the test is over.
    sys.stdin.read()


main()
