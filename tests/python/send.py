"""Sends one message with Python's smtplib, octet for octet as it is in --content, and prints every reply as one JSON object."""

import argparse
import json
import smtplib
import ssl

parser = argparse.ArgumentParser()
parser.add_argument("--server", required=True, help="ADDRESS:PORT")
parser.add_argument("--sender", default="")
parser.add_argument("--to", action="append", default=[])
parser.add_argument("--content", required=True, help="a file; lines end with CRLF")
parser.add_argument("--option", action="append", default=[], help="a parameter of MAIL")
parser.add_argument("--starttls", action="store_true")
options = parser.parse_args()

host, port = options.server.rsplit(":", 1)


def reply(answer):
    return {"code": answer[0], "text": answer[1].decode("utf-8", "replace")}


with smtplib.SMTP(host, int(port), local_hostname="client.example", timeout=60) as client:
    answers = {"ehlo": reply(client.ehlo())}
    if options.starttls:
        # The server's certificate is its own; whom we talk to is not what is tested.
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        answers["starttls"] = reply(client.starttls(context=context))
        client.ehlo()
    answers["mail"] = reply(client.mail(options.sender, options.option))
    answers["rcpt"] = [reply(client.rcpt(address)) for address in options.to]
    if any(answer["code"] == 250 for answer in answers["rcpt"]):
        with open(options.content, "rb") as file:
            answers["data"] = reply(client.data(file.read()))
print(json.dumps(answers))
