"""A cache that all web processes share, in the broker's Valkey or Redis; while that does not answer, each process keeps
its own."""

import json
import logging
from collections.abc import Callable
from typing import Any

import redis
from django.core.cache.backends.locmem import LocMemCache
from django.core.cache.backends.redis import RedisCache

logger = logging.getLogger(__name__)


class JsonSerializer:
    """Values are JSON: what another program may have written is never unpickled."""

    def dumps(self, value: Any) -> bytes:
        return json.dumps(value).encode()

    def loads(self, data: bytes) -> Any:
        return json.loads(data)


class SharedCache(RedisCache):
    """Django's cache in Redis with JSON values."""

    def __init__(self, server: str, params: dict[str, Any]) -> None:
        options = {**params.get("OPTIONS", {}), "serializer": JsonSerializer, "socket_connect_timeout": 1}
        super().__init__(server, {**params, "OPTIONS": options})
        self._own = LocMemCache("shared-cache", {})

    def get(self, key: Any, default: Any = None, version: Any = None) -> Any:
        return self._try(super().get, self._own.get, key, default, version=version)

    def set(self, key: Any, value: Any, timeout: Any = 300, version: Any = None) -> None:
        self._try(super().set, self._own.set, key, value, timeout, version=version)

    def add(self, key: Any, value: Any, timeout: Any = 300, version: Any = None) -> bool:
        return bool(self._try(super().add, self._own.add, key, value, timeout, version=version))

    def delete(self, key: Any, version: Any = None) -> bool:
        return bool(self._try(super().delete, self._own.delete, key, version=version))

    def _try(self, shared: Callable[..., Any], own: Callable[..., Any], *arguments: Any, version: Any) -> Any:
        try:
            return shared(*arguments, version=version)
        except redis.RedisError as error:
            logger.warning(
                "the broker does not answer (%s): wrong passwords are counted by process", type(error).__name__
            )
            return own(*arguments, version=version)
