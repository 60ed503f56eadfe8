// The peer of quic-go: QUIC version 1 with TLS 1.3, GSO as the library does by itself, windows of
// 16 MiB and more. Messages without order go as unidirectional streams of one message each, which
// is how QUIC has them when they must arrive.
package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"os"
	"time"

	"github.com/quic-go/quic-go"

	"peers/contract"
)

const (
	window       = 32 << 20
	socketBuffer = 7 << 20
	// packetSize fills an Ethernet packet from the start instead of after a search for it.
	packetSize = 1452
)

func main() { contract.Main(transport{}, os.Args[1:]) }

type transport struct{}

func config() *quic.Config {
	return &quic.Config{
		InitialStreamReceiveWindow:     window,
		MaxStreamReceiveWindow:         window,
		InitialConnectionReceiveWindow: 2 * window,
		MaxConnectionReceiveWindow:     2 * window,
		MaxIncomingUniStreams:          256,
		InitialPacketSize:              packetSize,
		MaxIdleTimeout:                 10 * time.Minute,
	}
}

func checkCongestion(options contract.Options) error {
	if options.Congestion != "" && options.Congestion != "cubic" {
		return fmt.Errorf("quic-go has cubic alone, not %q", options.Congestion)
	}
	return nil
}

func socket(address string) (*net.UDPConn, error) {
	local, err := net.ResolveUDPAddr("udp", address)
	if err != nil {
		return nil, err
	}
	conn, err := net.ListenUDP("udp", local)
	if err != nil {
		return nil, err
	}
	// As much as the machine allows: the library asks for the same and warns when it gets less.
	_ = conn.SetReadBuffer(socketBuffer)
	_ = conn.SetWriteBuffer(socketBuffer)
	return conn, nil
}

func (transport) Listen(address string, options contract.Options) (contract.Listener, error) {
	if err := checkCongestion(options); err != nil {
		return nil, err
	}
	conn, err := socket(address)
	if err != nil {
		return nil, err
	}
	server, pin, err := contract.ServerTLS()
	if err != nil {
		return nil, err
	}
	inner, err := (&quic.Transport{Conn: conn}).Listen(server, config())
	if err != nil {
		return nil, err
	}
	port := conn.LocalAddr().(*net.UDPAddr).Port
	return listener{inner, map[string]any{"port": port, "pin": pin}}, nil
}

func (transport) Dialer(address string, offer map[string]any, options contract.Options) (contract.Dialer, error) {
	if err := checkCongestion(options); err != nil {
		return nil, err
	}
	remote, err := net.ResolveUDPAddr("udp", address)
	if err != nil {
		return nil, err
	}
	client, err := contract.ClientTLS(offer)
	if err != nil {
		return nil, err
	}
	conn, err := socket(":0")
	if err != nil {
		return nil, err
	}
	return dialer{&quic.Transport{Conn: conn}, remote, client}, nil
}

type listener struct {
	inner *quic.Listener
	offer map[string]any
}

func (l listener) Offer() map[string]any { return l.offer }

func (l listener) Accept() (contract.Connection, error) {
	inner, err := l.inner.Accept(context.Background())
	if err != nil {
		return nil, err
	}
	return connection{inner}, nil
}

type dialer struct {
	transport *quic.Transport
	remote    net.Addr
	tls       *tls.Config
}

func (d dialer) Dial() (contract.Connection, error) {
	inner, err := d.transport.Dial(context.Background(), d.remote, d.tls, config())
	if err != nil {
		return nil, err
	}
	return connection{inner}, nil
}

type connection struct{ inner *quic.Conn }

func (c connection) Open() (contract.Stream, error) {
	inner, err := c.inner.OpenStreamSync(context.Background())
	return stream{inner}, err
}

func (c connection) Accept() (contract.Stream, error) {
	inner, err := c.inner.AcceptStream(context.Background())
	return stream{inner}, err
}

func (c connection) HasMessages() bool { return true }

func (c connection) SendMessage(message []byte) error {
	one, err := c.inner.OpenUniStreamSync(context.Background())
	if err != nil {
		return err
	}
	if _, err := one.Write(message); err != nil {
		return err
	}
	return one.Close()
}

func (c connection) Messages(take func([]byte) bool) {
	for {
		one, err := c.inner.AcceptUniStream(context.Background())
		if err != nil {
			return
		}
		go func() { // Streams are accepted in order, their content may come out of it.
			if message, err := io.ReadAll(one); err == nil {
				take(message)
			}
		}()
	}
}

func (c connection) Stats() map[string]any {
	stats := c.inner.ConnectionStats()
	return map[string]any{
		"packets_sent":      stats.PacketsSent,
		"packets_lost":      stats.PacketsLost,
		"bytes_lost":        stats.BytesLost,
		"congestion_window": stats.CongestionWindow,
		"smoothed_rtt_us":   float64(stats.SmoothedRTT) / 1e3,
	}
}

func (c connection) Close() { _ = c.inner.CloseWithError(0, "") }

type stream struct{ *quic.Stream }

func (s stream) Finish() error { return s.Close() }

func (s stream) Abandon() { s.CancelWrite(0) }
