"""The request protocol, kernel side: envelopes in, envelopes out. `docs/protocol.md` is the
contract.
"""

from __future__ import annotations

import json
import logging
from collections import deque
from collections.abc import Callable
from functools import partial
from threading import Thread
from time import monotonic
from typing import Any

from ..model import VisitError

REQUEST, CANCEL, RESPONSE, PROGRESS = (
    "visit-request",
    "visit-cancel",
    "visit-response",
    "visit-progress",
)
# Servers drop what comes faster than some megabytes in seconds, and some hosts what is larger.
MOST_BYTES = 2_000_000
# Seconds between two words of how far a request is.
TELLS_EVERY = 0.25
Send = Callable[[dict[str, Any]], None]
Method = Callable[..., dict[str, Any]]

logger = logging.getLogger("visit_widget")


class Desk:
    """Answers requests with methods; every request that is not cancelled gets exactly one response.

    Args:
        methods: {name: function of the params by keyword}.
        send: puts one message on the wire.
        slow: likewise, of functions that also take `progress`, to be called with (done, total).
        aside: as `slow`, of what takes minutes: answered on a thread of its own, so that the kernel
            goes on meeting other requests, and can be told to stop.
    """

    def __init__(
        self,
        methods: dict[str, Method],
        send: Send,
        slow: dict[str, Method] | None = None,
        aside: dict[str, Method] | None = None,
    ) -> None:
        self.methods, self.send = methods, send
        self.slow, self.aside = slow or {}, aside or {}
        # Bounded: a cancel may come after its answer.
        self._cancelled: deque[str] = deque(maxlen=256)
        self._closed = False

    def close(self) -> None:
        """Meet no more requests; what is under way on a thread of its own is called off."""
        self._closed = True
        self.methods, self.slow, self.aside = {}, {}, {}

    def receive(self, message: Any) -> None:
        """Handle one message from the browser; what is no request of this protocol is ignored."""
        if not isinstance(message, dict) or not isinstance(message.get("id"), str):
            return
        if not message["id"]:
            return
        if message.get("kind") == CANCEL:
            self._cancelled.append(message["id"])
        elif message.get("kind") == REQUEST:
            asked = message["id"], message.get("method"), message.get("params") or {}
            if isinstance(asked[1], str) and asked[1] in self.aside:
                # Not waited for when Python ends.
                Thread(target=self._answer, args=asked, daemon=True).start()
            else:
                self._answer(*asked)

    def _answer(self, request_id: str, method: Any, params: Any) -> None:
        if request_id in self._cancelled:
            self._cancelled.remove(request_id)
            return
        try:
            function = self.methods.get(method)
            with_progress = self.slow.get(method) or self.aside.get(method)
            if with_progress is not None:
                function = partial(
                    with_progress, progress=self._progress(request_id, method in self.aside)
                )
            if function is None:
                raise VisitError(
                    f"There is no method {method!r}: is the page's widget of another version?"
                )
            if not isinstance(params, dict):
                raise VisitError(f"The params of {method!r} must be an object.")
            outcome = {"ok": True, "result": _carried(function(**params))}
        except VisitError as error:
            outcome = {"ok": False, "error": {"type": type(error).__name__, "message": str(error)}}
        except Exception as error:  # a handler must answer, whatever happened in the model
            logger.exception("visit_widget could not answer %r", method)
            reason = " ".join(str(error).split())[:200]
            kind = type(error).__name__
            message = f"The kernel could not do this ({kind}: {reason}). The log has the details."
            outcome = {"ok": False, "error": {"type": kind, "message": message}}
        except KeyboardInterrupt:
            message = "The kernel was interrupted while it computed this: ask again."
            error_told = {"type": "KeyboardInterrupt", "message": message}
            self.send({"kind": RESPONSE, "id": request_id, "ok": False, "error": error_told})
            raise
        if request_id in self._cancelled:
            self._cancelled.remove(request_id)
            return
        if not self._closed:
            self.send({"kind": RESPONSE, "id": request_id, **outcome})

    def _progress(self, request_id: str, at_once: bool) -> Callable[[int, int], None]:
        """Tells the browser how far a request is, now and then; ends it once it is called off."""
        last = -TELLS_EVERY if at_once else monotonic()

        def tell(done: int, total: int) -> None:
            nonlocal last
            if request_id in self._cancelled or self._closed:
                raise VisitError("This was called off.")
            if monotonic() - last >= TELLS_EVERY:
                last = monotonic()
                self.send({"kind": PROGRESS, "id": request_id, "done": done, "total": total})

        return tell


def _carried(result: dict[str, Any]) -> dict[str, Any]:
    """The result, if a message can carry it.

    Raises:
        VisitError: it is too large.
    """
    size = len(json.dumps(result, ensure_ascii=False, separators=(",", ":")))
    if size > MOST_BYTES:
        raise VisitError(
            f"The answer has {size / 1e6:.1f} MB, more than a notebook's messages carry "
            f"({MOST_BYTES / 1e6:.0f} MB): let pruning keep fewer parts (keep)."
        )
    return result
