// A server with Go's net/http. Any path: "ok". With ?seconds=S: the same after S seconds, and "slow begins" on stdout
// when it begins. With -fd it accepts on that descriptor. With -shutdown it does on SIGTERM what its documentation advises, and without nothing.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"
)

func answer(writer http.ResponseWriter, request *http.Request) {
	if seconds, err := strconv.ParseFloat(request.URL.Query().Get("seconds"), 64); err == nil {
		fmt.Println("slow begins")
		time.Sleep(time.Duration(seconds * float64(time.Second)))
	}
	io.WriteString(writer, "ok")
}

func main() {
	listen := flag.String("listen", "127.0.0.1:8080", "address and port")
	fd := flag.Uint("fd", 0, "a listening socket that is there already")
	shutdown := flag.Bool("shutdown", false, "call Server.Shutdown on SIGTERM")
	flag.Parse()
	server := &http.Server{Addr: *listen, Handler: http.HandlerFunc(answer)}
	done := make(chan struct{})
	if *shutdown {
		signals := make(chan os.Signal, 1)
		signal.Notify(signals, syscall.SIGTERM)
		go func() {
			<-signals
			if err := server.Shutdown(context.Background()); err != nil {
				fmt.Fprintln(os.Stderr, err)
			}
			close(done)
		}()
	}
	var listener net.Listener
	var err error
	if *fd == 0 {
		listener, err = net.Listen("tcp", *listen)
	} else {
		listener, err = net.FileListener(os.NewFile(uintptr(*fd), "listener"))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	// Serve comes back at once: the requests are over when Shutdown does.
	<-done
}
