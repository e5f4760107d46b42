"""Reads a delivery status notification with Python's email package and prints what it says as one JSON object.

Fails when it is not one (RFC 3462, RFC 3464). The message comes on standard input.
"""

import email
import email.policy
import json
import sys

message = email.message_from_bytes(sys.stdin.buffer.read(), policy=email.policy.default)
for part in message.walk():
    if part.defects:
        sys.exit(f"defects: {part.defects}")
if message.get_content_type() != "multipart/report" or message.get_param("report-type") != "delivery-status":
    sys.exit(f"not a report: {message['content-type']}")
parts = list(message.iter_parts())
status = parts[1]
if status.get_content_type() != "message/delivery-status":
    sys.exit(f"the second part is {status.get_content_type()}")
blocks = [dict((name.lower(), str(value)) for name, value in block.items()) for block in status.get_payload()]
json.dump(
    {
        "from": str(message["from"]),
        "to": str(message["to"]),
        "subject": str(message["subject"]),
        "text": parts[0].get_content(),
        "message": blocks[0],
        "recipients": blocks[1:],
        "returned": parts[2].get_content_type() if len(parts) > 2 else None,
        "returned_text": parts[2].as_bytes().decode("utf-8", "replace") if len(parts) > 2 else "",
    },
    sys.stdout,
)
