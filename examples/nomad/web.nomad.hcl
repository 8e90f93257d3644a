job "web" {
  datacenters = ["dc1"]

  update {
    max_parallel = 1
    health_check = "checks"
    auto_revert  = true
  }

  group "web" {
    count = 2

    network {
      port "http" { to = 8000 }
      port "probes" { to = 9090 }
    }

    service {
      name     = "web"
      port     = "http"
      provider = "nomad"

      check {
        type     = "http"
        port     = "probes"
        path     = "/readyz"
        interval = "2s"
        timeout  = "1s"
      }
    }

    task "web" {
      driver       = "docker"
      kill_signal  = "SIGTERM"
      kill_timeout = "30s"

      config {
        image      = "example.org/shop:1"
        ports      = ["http", "probes"]
        entrypoint = ["/graceful", "--"]
        command    = "gunicorn"
        args       = ["--bind", ":8000", "--graceful-timeout", "15", "shop:app"]
      }

      env {
        GRACEFUL_GRACE_PERIOD   = "30s"
        GRACEFUL_PRE_STOP_DELAY = "10s"
        GRACEFUL_PROBE_LISTEN   = ":9090"
        GRACEFUL_READY_URL      = "http://127.0.0.1:8000/"
      }
    }
  }
}
