#!/bin/sh
# One after the other: the next is stopped when this one is ready, and the router knows it.
set -e
for replica in web1 web2; do
    docker-compose up -d --no-deps "$replica"
    container=$(docker-compose ps -q "$replica")
    until [ "$(docker inspect -f '{{.State.Health.Status}}' "$container")" = healthy ]; do
        sleep 0.5
    done
    sleep 2
done
