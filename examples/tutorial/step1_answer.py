"""Step 1: answer a question."""

from wsrooms import WsApp, use_ws_message

ws = WsApp()


@ws.on_message("greet", "/hello")
def greet() -> str:
    return f"Hello, {use_ws_message().data}!"


if __name__ == "__main__":
    ws.run(port=8000)
