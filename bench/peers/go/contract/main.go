package contract

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
)

// Main is the whole program of a peer: it does what the arguments say, and does not return.
func Main(transport Transport, arguments []string) {
	err := run(transport, arguments)
	if err != nil {
		emit(result{"error": err.Error()})
		os.Exit(1)
	}
	os.Exit(0)
}

func emit(value any) {
	line, err := json.Marshal(value)
	if err != nil {
		panic(err) // Every value is a number or a text.
	}
	fmt.Println(string(line))
}

func run(transport Transport, arguments []string) error {
	if len(arguments) == 0 {
		return errors.New("say serve or run TASK")
	}
	verb, rest, task := arguments[0], arguments[1:], ""
	if verb == "run" {
		if len(rest) == 0 {
			return errors.New("run needs a task")
		}
		task, rest = rest[0], rest[1:]
	}
	var options Options
	var request Request
	flags := flag.NewFlagSet(verb, flag.ContinueOnError)
	listen := flags.String("listen", "127.0.0.1:0", "address and port")
	connect := flags.String("connect", "", "address and port")
	offerText := flags.String("offer", "{}", "what the server printed")
	flags.StringVar(&options.Congestion, "congestion", "", "congestion controller")
	flags.StringVar(&options.Profile, "profile", "", "loopback, wan or realtime")
	flags.Float64Var(&request.Seconds, "seconds", 2, "how long")
	flags.Uint64Var(&request.Count, "count", 0, "how many; 0 grows it until it takes --seconds")
	flags.Uint64Var(&request.Size, "size", 20480, "bytes of a response")
	flags.Float64Var(&request.Rate, "rate", 60, "messages per second")
	flags.Float64Var(&request.Pause, "pause", 0, "seconds between responses")
	flags.IntVar(&request.Parallel, "parallel", 1, "handshakes at once")
	if err := flags.Parse(rest); err != nil {
		return err
	}
	options.Task = task
	switch verb {
	case "serve":
		return serve(transport, *listen, options)
	case "run":
		if task == "response" && request.Count == 0 {
			request.Count = 100
		}
		var offer map[string]any
		if err := json.Unmarshal([]byte(*offerText), &offer); err != nil {
			return err
		}
		dialer, err := transport.Dialer(*connect, offer, options)
		if err != nil {
			return err
		}
		if task == "hold" {
			held, err := hold(dialer, request.Count)
			if err != nil {
				return err
			}
			emit(result{"held": len(held), "ok": true})
			_, _ = io.Copy(io.Discard, os.Stdin)
			return nil
		}
		done, err := perform(dialer, task, request)
		if err != nil {
			return err
		}
		emit(done)
		return nil
	}
	return fmt.Errorf("no verb is called %q", verb)
}

func serve(transport Transport, address string, options Options) error {
	listener, err := transport.Listen(address, options)
	if err != nil {
		return err
	}
	emit(listener.Offer())
	failed := make(chan error, 1)
	go func() {
		for {
			connection, err := listener.Accept()
			if err != nil {
				failed <- err
				return
			}
			go serveConnection(connection)
		}
	}()
	ended := make(chan struct{})
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		close(ended)
	}()
	select {
	case <-ended:
		return nil
	case err := <-failed:
		return err
	}
}
