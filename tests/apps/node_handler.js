// Node as its documentation advises: on SIGTERM no new connections, then the end by itself.
const server = require('./node_app.js').start();
process.on('SIGTERM', () => server.close());
