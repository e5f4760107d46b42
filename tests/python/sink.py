"""An SMTP server (aiosmtpd) that keeps whatever comes, at several addresses and one port.

One JSON line a message goes to --record before its 250 does. Every address in it is as the sink saw it.
"""

import argparse
import asyncio
import base64
import json
import ssl

from aiosmtpd.smtp import SMTP

parser = argparse.ArgumentParser()
parser.add_argument("--port", type=int, required=True)
parser.add_argument("--record", required=True)
parser.add_argument("--hide", action="append", default=[], help="KEYWORD or KEYWORD@ADDRESS: not offered in EHLO (there)")
parser.add_argument("--certificate", help="PEM of certificate and key: offer STARTTLS")
parser.add_argument("--rcpt-reply", action="append", default=[], help="ADDRESS=REPLY, as nobody@x=550 5.1.1 No such user")
parser.add_argument("--rcpt-once", action="append", default=[], help="as --rcpt-reply, the first time only; again: the next time")
parser.add_argument("--dot-once", action="append", default=[], help="REPLY to the first message; again: to the next")
parser.add_argument("--greeting", action="append", default=[], help="ADDRESS=REPLY: all that a client hears there")
parser.add_argument("addresses", nargs="+")
options = parser.parse_args()

rcpt_replies = dict(pair.split("=", 1) for pair in options.rcpt_reply)
rcpt_once = {}
for pair in options.rcpt_once:
    address, reply = pair.split("=", 1)
    rcpt_once.setdefault(address, []).append(reply)
greetings = dict(pair.split("=", 1) for pair in options.greeting)
record = open(options.record, "a", encoding="ascii")

# The default cuts lines at 1001 octets, with which a test of long lines would test the sink.
SMTP.line_length_limit = 1 << 20


class Recorder:
    async def handle_EHLO(self, server, session, envelope, hostname, responses):
        session.host_name = hostname
        local = server.transport.get_extra_info("sockname")[0]
        keywords = ((line, line[4:].split(" ")[0]) for line in responses)
        return [line for line, word in keywords if not {word, f"{word}@{local}"} & set(options.hide)]

    async def handle_RCPT(self, server, session, envelope, address, rcpt_options):
        once = rcpt_once.get(address)
        reply = once.pop(0) if once else rcpt_replies.get(address)
        if reply is not None:
            return reply
        envelope.rcpt_tos.append(address)
        envelope.rcpt_options.append(rcpt_options)
        return "250 2.1.5 OK"

    async def handle_DATA(self, server, session, envelope):
        if options.dot_once:
            return options.dot_once.pop(0)
        line = {
            "local": server.transport.get_extra_info("sockname")[0],
            "peer": session.peer[0],
            "hello": session.host_name,
            "tls": session.ssl is not None,
            # aiosmtpd has the null path as it stands.
            "from": envelope.mail_from.removeprefix("<>"),
            "from_options": envelope.mail_options,
            "to": envelope.rcpt_tos,
            "content": base64.b64encode(envelope.original_content).decode("ascii"),
        }
        record.write(json.dumps(line) + "\n")
        record.flush()
        return "250 2.0.0 Kept"


class Server(SMTP):
    async def _handle_client(self):
        reply = greetings.get(self.transport.get_extra_info("sockname")[0])
        if reply is None:
            return await super()._handle_client()
        await self.push(reply)
        self.transport.close()


async def main():
    tls = None
    if options.certificate:
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        tls.load_cert_chain(options.certificate)
    loop = asyncio.get_running_loop()
    for address in options.addresses:
        await loop.create_server(
            lambda: Server(Recorder(), hostname="sink.example", data_size_limit=None, enable_SMTPUTF8=True, tls_context=tls),
            address,
            options.port,
        )
    print("ready", flush=True)
    await asyncio.Event().wait()


asyncio.run(main())
