FROM nginx:1.27
COPY graceful /graceful
WORKDIR /app
COPY nginx.conf .
COPY public public
ENV GRACEFUL_GRACE_PERIOD=10s GRACEFUL_PRE_STOP_DELAY=3s
ENTRYPOINT ["/graceful", "--"]
CMD ["nginx", "-p", "/app", "-c", "nginx.conf", "-g", "daemon off;"]
