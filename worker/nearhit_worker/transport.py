"""Transport: kombu's connections to a broker, which deliver only messages that can be parsed.

What kombu cannot take apart it raises out of the consumer's loop, which ends the worker (kombu 5.7, py-amqp 5.3).
Such a message reaches the consumer as one that it refuses: see ``nearhit_worker.envelope`` and ``consumer``.
"""

from __future__ import annotations

import struct
import uuid
from typing import TYPE_CHECKING, Any

import redis
from amqp import method_framing
from amqp.serialization import decode_properties_basic
from celery.app.amqp import AMQP
from kombu import Connection
from kombu.transport import pyamqp, virtual
from kombu.transport import redis as lists

from nearhit.resilience.undo import unless_finished
from nearhit_worker.envelope import plain

if TYPE_CHECKING:
    from collections.abc import Callable

_SEPARATOR = "\x06\x16"
"""Between a queue's name and a priority in the name of a list, as kombu has it."""

_HEADER_FRAME = 2
_PROPERTIES_AT = 12
"""Where the properties begin in a header frame of AMQP 0-9-1: after class, weight and body size."""


class GuardedClient(redis.Redis):
    """A client that makes plain what it pops."""

    def parse_response(self, connection: Any, command_name: str | bytes, **options: Any) -> Any:
        """Return a reply; that of BRPOP with its envelope made plain."""
        reply = super().parse_response(connection, command_name, **options)  # type: ignore[no-untyped-call]
        if command_name != "BRPOP" or not reply:
            return reply
        name, raw = reply
        return name, plain(raw, name.decode().rsplit(_SEPARATOR, 1)[0], uuid.uuid4().hex)


class _Guarded:
    """Makes a channel pop through the guarded client, and go on where the broker did not take an acknowledgement."""

    def basic_ack(self, delivery_tag: str, multiple: bool = False) -> None:
        """Acknowledge a message; one that cannot be holds no place among those in work.

        Celery logs the failure and forgets it. With every place held so, the channel asks for no more messages, learns
        of no lost connection, and the worker is deaf to its queues for good (kombu 5.7). The broker delivers it again.
        test_a_broker_that_is_away_when_a_task_ends_does_not_deafen_its_worker
        """
        channel: Any = self
        with unless_finished(lambda: virtual.QoS.ack(channel.qos, delivery_tag)):
            super().basic_ack(delivery_tag, multiple)  # type: ignore[misc]  # of the channel that this is mixed into

    def _get_client(self) -> Any:
        made = super()._get_client()  # type: ignore[misc]  # of the channel that this is mixed into
        return GuardedClient if made is redis.Redis else made


class GuardedChannel(_Guarded, lists.Channel):  # type: ignore[misc]  # kombu has no types
    """A channel to one Valkey server."""


class GuardedSentinelChannel(_Guarded, lists.SentinelChannel):  # type: ignore[misc]  # kombu has no types
    """A channel to the Valkey server that sentinels name."""


class GuardedTransport(lists.Transport):  # type: ignore[misc]  # kombu has no types
    """Lists on one Valkey server."""

    Channel = GuardedChannel


class GuardedSentinelTransport(lists.SentinelTransport):  # type: ignore[misc]  # kombu has no types
    """Lists on the Valkey server that sentinels name."""

    Channel = GuardedSentinelChannel


def frame_handler(connection: Any, callback: Callable[..., Any]) -> Callable[[Any], bool]:
    """Return what py-amqp calls with each frame; properties that cannot be read are taken for none at all.

    They come from whoever published the message: names that are no UTF-8, a timestamp in the year 300 billion.
    """
    inner: Callable[[Any], bool] = method_framing.frame_handler(connection, callback)

    def on_frame(frame: Any) -> bool:
        kind, channel, buffer = frame
        if kind == _HEADER_FRAME:
            try:
                decode_properties_basic(buffer, _PROPERTIES_AT)
            except Exception:  # noqa: BLE001 - whatever a publisher can provoke there
                frame = (kind, channel, bytes(buffer[:_PROPERTIES_AT]) + struct.pack(">H", 0))
        return inner(frame)

    return on_frame


class GuardedAmqpConnection(pyamqp.Connection):  # type: ignore[misc]  # kombu has no types
    """A connection to RabbitMQ that no message's properties can break."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{"frame_handler": frame_handler, **kwargs})


class GuardedAmqpTransport(pyamqp.Transport):  # type: ignore[misc]  # kombu has no types
    """RabbitMQ."""

    Connection = GuardedAmqpConnection


class GuardedAmqpsTransport(pyamqp.SSLTransport):  # type: ignore[misc]  # kombu has no types
    """RabbitMQ over TLS."""

    Connection = GuardedAmqpConnection


_GUARDED = {
    lists.Transport: GuardedTransport,
    lists.SentinelTransport: GuardedSentinelTransport,
    pyamqp.Transport: GuardedAmqpTransport,
    pyamqp.SSLTransport: GuardedAmqpsTransport,
}


class GuardedConnection(Connection):  # type: ignore[misc]  # kombu has no types
    """A connection through a guarded transport, where there is one for the url."""

    def get_transport_cls(self) -> Any:
        """Return the class of the transport."""
        known = super().get_transport_cls()
        return _GUARDED.get(known, known)


class GuardedAMQP(AMQP):  # type: ignore[misc]  # Celery has no types
    """What Celery asks for connections."""

    Connection = GuardedConnection
