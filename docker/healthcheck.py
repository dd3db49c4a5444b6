"""Asks a worker's /live from inside its container; status 0 when it gets on, 1 with the reason if not."""

from __future__ import annotations

import http.client
import os
import sys

TIMEOUT_SECONDS = 4.0


def main() -> int:
    port = int(os.environ.get("THONGSUOT_MONITORING__PORT") or 9400)
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_SECONDS)
    try:
        connection.request("GET", "/live")
        answer = connection.getresponse()
        body = answer.read().decode(errors="replace")
    except (OSError, http.client.HTTPException) as error:
        sys.stdout.write(f"port {port} does not answer /live: {error}\n")
        return 1
    finally:
        connection.close()
    sys.stdout.write(f"{body}\n")
    return 0 if answer.status == 200 else 1


if __name__ == "__main__":
    sys.exit(main())
