FROM gcr.io/distroless/python3-debian12
COPY graceful /graceful
COPY app.py /app.py
ENV GRACEFUL_GRACE_PERIOD=10s GRACEFUL_PRE_STOP_DELAY=2s
ENV GRACEFUL_PROBE_LISTEN=:9090 GRACEFUL_READY_URL=http://127.0.0.1:8000/
# http.server has no handler and ends by the signal.
ENV GRACEFUL_SUCCESS_EXIT_STATUS=143
EXPOSE 8000 9090
HEALTHCHECK --interval=1s --retries=2 CMD ["/graceful", "probe"]
# The image's own entrypoint is the interpreter: it becomes the app's first word.
ENTRYPOINT ["/graceful", "--", "/usr/bin/python3"]
CMD ["/app.py"]
