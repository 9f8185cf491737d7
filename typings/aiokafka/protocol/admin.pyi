class SaslHandShakeRequest:
    def __init__(self, mechanism: str) -> None: ...

class SaslHandShakeResponse:
    error_code: int
