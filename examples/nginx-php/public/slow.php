<?php sleep(1); echo "slow\n";
