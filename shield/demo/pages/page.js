"use strict";
// Shows that events and WebSockets pass through Shield. textContent only: nothing that was received becomes markup.
const clock = document.getElementById("clock");
const events = new EventSource("/events");
events.onmessage = (event) => { clock.textContent = event.data + " UTC"; };
events.onerror = () => { clock.textContent = "interrupted, trying again"; };

const echo = document.getElementById("echo");
const socket = new WebSocket((location.protocol === "https:" ? "wss://" : "ws://") + location.host + "/echo");
socket.onopen = () => { socket.send("a message that came back"); };
socket.onmessage = (event) => { echo.textContent = event.data; };
socket.onclose = () => { echo.textContent += " (closed)"; };
