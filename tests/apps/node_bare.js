// Node as most apps are: no handler for SIGTERM.
require('./node_app.js').start();
