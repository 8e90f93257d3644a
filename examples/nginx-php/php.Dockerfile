FROM php:8.3-fpm
COPY graceful /graceful
WORKDIR /app
COPY php-fpm.conf .
COPY public public
ENV GRACEFUL_GRACE_PERIOD=10s GRACEFUL_PRE_STOP_DELAY=3s
ENTRYPOINT ["/graceful", "--"]
CMD ["php-fpm", "--nodaemonize", "--fpm-config", "/app/php-fpm.conf"]
