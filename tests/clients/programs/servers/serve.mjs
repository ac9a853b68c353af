// Answers that are odd but legal, by Node's own http server. The one argument is the port.
import http from "node:http";

const answers = {
  "/page": (response) => response.end("hello"),
  "/none": (response) => response.writeHead(204, { "Content-Length": 0 }).end(),
  "/reset": (response) => response.writeHead(205, { "Content-Length": 0 }).end(),
  "/same": (response) => response.writeHead(304, { ETag: '"a"', "Content-Length": 5 }).end(),
  "/chunks": (response) => {
    response.write("one");
    response.end("two");
  },
  "/undated": (response) => {
    response.sendDate = false;
    response.end("hello");
  },
  "/hints": (response) => {
    response.writeEarlyHints({ link: "</a.css>; rel=preload" });
    response.end("hello");
  },
  "/working": (response) => {
    for (let n = 0; n < 20; n++) response.writeProcessing();
    response.end("hello");
  },
  "/reason": (response) => response.writeHead(200, "t\xe9s bien").end("hello"),
  "/named": (response) => response.writeHead(299, { Connection: "keep-alive, X-Hop", "X-Hop": "1" }).end("hello"),
};

const server = http.createServer((request, response) => {
  const answer = answers[request.url];
  answer ? answer(response) : response.writeHead(404).end();
});
server.on("upgrade", (request, socket) => {
  const lines = ["HTTP/1.1 101 Switching Protocols", "Connection: Upgrade", `Upgrade: ${request.headers.upgrade}`];
  lines.push("Content-Length: 0");
  if (request.headers["x-accept"]) lines.push(`Sec-WebSocket-Accept: ${request.headers["x-accept"]}`);
  socket.write(lines.join("\r\n") + "\r\n\r\nhello");
  socket.pipe(socket);
});
server.listen(Number(process.argv[2]), "127.0.0.1");
