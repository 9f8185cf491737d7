import ssl

from aiokafka.protocol.admin import SaslHandShakeRequest, SaslHandShakeResponse

class AIOKafkaConnection:
    async def send(self, request: SaslHandShakeRequest) -> SaslHandShakeResponse: ...
    def close(self) -> None: ...

async def create_conn(
    host: str,
    port: int,
    *,
    client_id: str = ...,
    request_timeout_ms: int = ...,
    ssl_context: ssl.SSLContext | None = ...,
    security_protocol: str = ...,
    sasl_mechanism: str | None = ...,
    sasl_plain_username: str | None = ...,
    sasl_plain_password: str | None = ...,
) -> AIOKafkaConnection: ...
