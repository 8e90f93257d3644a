bind = "0.0.0.0:8000"
worker_class = "gthread"
workers = 2
threads = 8
