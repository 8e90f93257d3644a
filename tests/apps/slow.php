<?php
// Any path: "ok". With ?seconds=S: the same after S seconds, and "slow begins" on stderr when it begins.
if (isset($_GET['seconds'])) {
    file_put_contents('php://stderr', "slow begins\n");
    $end = microtime(true) + (float) $_GET['seconds'];
    // A signal ends a sleep early.
    while (microtime(true) < $end) {
        usleep(10000);
    }
}
echo 'ok';
