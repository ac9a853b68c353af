// What Express makes of forwarding fields: reads asked.json, says for each request which client, scheme and host it saw.
import { readFileSync } from "node:fs";
import { request } from "node:http";
import express from "express";

const answers = [];
for (const { trust, fields } of JSON.parse(readFileSync("asked.json", "utf8"))) {
  const app = express();
  app.set("trust proxy", trust);
  app.get("/", (req, res) => res.json({ ip: req.ip, protocol: req.protocol, host: req.host }));
  const server = await new Promise((ready) => {
    const listening = app.listen(0, "127.0.0.1", () => ready(listening));
  });
  const { port } = server.address();
  answers.push(
    await new Promise((done, fail) => {
      const asked = request({ port, host: "127.0.0.1", headers: fields, agent: false }, (response) => {
        let text = "";
        response.on("data", (part) => (text += part));
        response.on("end", () => done(JSON.parse(text)));
      });
      asked.on("error", fail);
      asked.end();
    }),
  );
  server.close();
}
console.log(JSON.stringify(answers));
