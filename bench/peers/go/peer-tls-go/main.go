// The peer of Go's own TLS 1.3 over TCP, for scale: what a Go program gets without any library.
package main

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"

	"golang.org/x/sys/unix"

	"peers/contract"
)

func main() { contract.Main(transport{}, os.Args[1:]) }

type transport struct{}

func (transport) Listen(address string, options contract.Options) (contract.Listener, error) {
	server, pin, err := contract.ServerTLS()
	if err != nil {
		return nil, err
	}
	inner, err := net.Listen("tcp", address)
	if err != nil {
		return nil, err
	}
	port := inner.Addr().(*net.TCPAddr).Port
	offer := map[string]any{"port": port, "pin": pin}
	return listener{inner, server, options, offer}, nil
}

func (transport) Dialer(address string, offer map[string]any, options contract.Options) (contract.Dialer, error) {
	client, err := contract.ClientTLS(offer)
	if err != nil {
		return nil, err
	}
	return dialer{address, client, options}, nil
}

// congestion sets the kernel's congestion controller, unless none is named.
func congestion(inner net.Conn, options contract.Options) error {
	if options.Congestion == "" {
		return nil
	}
	raw, err := inner.(*net.TCPConn).SyscallConn()
	if err != nil {
		return err
	}
	var refused error
	err = raw.Control(func(fd uintptr) {
		refused = unix.SetsockoptString(int(fd), unix.IPPROTO_TCP, unix.TCP_CONGESTION, options.Congestion)
	})
	if err = errors.Join(err, refused); err != nil {
		return fmt.Errorf("congestion control %q: %w", options.Congestion, err)
	}
	return nil
}

type listener struct {
	inner   net.Listener
	tls     *tls.Config
	options contract.Options
	offer   map[string]any
}

func (l listener) Offer() map[string]any { return l.offer }

func (l listener) Accept() (contract.Connection, error) {
	inner, err := l.inner.Accept()
	if err != nil {
		return nil, err
	}
	if err := congestion(inner, l.options); err != nil {
		return nil, err
	}
	return contract.NewSingle(tls.Server(inner, l.tls), noStats), nil
}

type dialer struct {
	address string
	tls     *tls.Config
	options contract.Options
}

func (d dialer) Dial() (contract.Connection, error) {
	inner, err := net.Dial("tcp", d.address)
	if err != nil {
		return nil, err
	}
	if err := congestion(inner, d.options); err != nil {
		return nil, err
	}
	secure := tls.Client(inner, d.tls)
	return contract.NewSingle(secure, noStats), secure.Handshake()
}

func noStats() map[string]any { return nil }
