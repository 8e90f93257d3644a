// The server of node_bare.js and node_handler.js, with the same paths as the FastAPI app. Usage: PORT [ADDRESS].
const fs = require('node:fs');
const http = require('node:http');

const say = (text) => fs.writeSync(1, `${text}\n`);
let inFlight = 0;

exports.start = () => {
  const server = http.createServer((request, response) => {
    const url = new URL(request.url, 'http://localhost');
    if (url.pathname === '/slow') {
      inFlight += 1;
      say('slow begins');
      setTimeout(() => {
        inFlight -= 1;
        response.end('slow done\n');
      }, 1000 * Number(url.searchParams.get('seconds') ?? 1.5));
    } else if (url.pathname === '/stats') {
      response.end(JSON.stringify({ in_flight: inFlight }));
    } else {
      response.statusCode = ['/', '/healthz'].includes(url.pathname) ? 200 : 404;
      response.end('hello world\n');
    }
  });
  // Longer than the router before it keeps idle connections, as every load balancer asks.
  server.keepAliveTimeout = Number(process.env.KEEP_ALIVE_MS ?? server.keepAliveTimeout);
  server.listen(Number(process.argv[2]), process.argv[3] ?? '127.0.0.1', () => say('worker ready'));
  return server;
};
