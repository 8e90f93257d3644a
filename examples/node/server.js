const http = require("node:http");

http
  .createServer((request, response) => {
    const answer = () => response.end("hello\n");
    if (request.url === "/slow") setTimeout(answer, 1000);
    else answer();
  })
  .listen(8000);
