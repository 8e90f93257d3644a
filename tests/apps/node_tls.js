// HTTPS by Node, without a handler for SIGTERM. Usage: PORT KEY CERTIFICATE. /slow?s=S answers after S seconds.
const fs = require('node:fs');
const https = require('node:https');

const [port, key, certificate] = process.argv.slice(2);
const options = { key: fs.readFileSync(key), cert: fs.readFileSync(certificate) };
https
  .createServer(options, (request, response) => {
    const seconds = new URL(request.url, 'https://localhost').searchParams.get('s') ?? 0;
    setTimeout(() => response.end('ok'), 1000 * seconds);
  })
  .listen(Number(port), '127.0.0.1');
