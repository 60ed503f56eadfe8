// The peer of kcp-go: KCP with its fastest documented mode (no delay, 10 ms, resend after two, no
// congestion control) and AES-256-GCM under a key that both sides share; with --fec D+P before the
// verb, Reed-Solomon as well. It has neither a handshake nor unordered messages.
package main

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"os"

	"github.com/xtaci/kcp-go/v5"

	"peers/contract"
)

const (
	// mtu is the UDP payload of a full Ethernet packet.
	mtu          = 1472
	keySize      = 32
	socketBuffer = 16 << 20
)

// windows are packets in flight at most, by profile. Without congestion control the window is what
// keeps KCP from drowning a path, so its users fit it to theirs.
var windows = map[string]int{"": 768, "loopback": 512, "wan": 768, "realtime": 256}

func main() {
	arguments := os.Args[1:]
	var t transport
	if len(arguments) > 1 && arguments[0] == "--fec" {
		if _, err := fmt.Sscanf(arguments[1], "%d+%d", &t.data, &t.parity); err != nil {
			fmt.Fprintln(os.Stderr, "--fec wants DATA+PARITY, for example 10+3")
			os.Exit(2)
		}
		arguments = arguments[2:]
	}
	contract.Main(t, arguments)
}

type transport struct{ data, parity int }

func block(key string) (kcp.BlockCrypt, error) {
	raw, err := hex.DecodeString(key)
	if err != nil || len(raw) != keySize {
		return nil, errors.New("the offer has no key of 32 bytes")
	}
	return kcp.NewAESGCMCrypt(raw)
}

func check(options contract.Options) error {
	if _, ok := windows[options.Profile]; !ok {
		return fmt.Errorf("no profile is called %q", options.Profile)
	}
	if c := options.Congestion; c != "" && c != "none" && c != "kcp" {
		return fmt.Errorf("kcp-go has the congestion controls none and kcp, not %q", c)
	}
	return nil
}

func tune(session *kcp.UDPSession, options contract.Options) {
	none := 1
	if options.Congestion == "kcp" {
		none = 0
	}
	session.SetStreamMode(true)
	session.SetNoDelay(1, 10, 2, none)
	session.SetWindowSize(windows[options.Profile], 4*windows[options.Profile])
	session.SetMtu(mtu)
	session.SetACKNoDelay(options.Profile == "realtime")
	// Small pipelined writes share packets; everything else leaves at once.
	session.SetWriteDelay(options.Task == "messages")
}

func (t transport) Listen(address string, options contract.Options) (contract.Listener, error) {
	if err := check(options); err != nil {
		return nil, err
	}
	raw := make([]byte, keySize)
	if _, err := rand.Read(raw); err != nil {
		return nil, err
	}
	key := hex.EncodeToString(raw)
	crypt, err := block(key)
	if err != nil {
		return nil, err
	}
	inner, err := kcp.ListenWithOptions(address, crypt, t.data, t.parity)
	if err != nil {
		return nil, err
	}
	_ = inner.SetReadBuffer(socketBuffer)
	_ = inner.SetWriteBuffer(socketBuffer)
	port := inner.Addr().(*net.UDPAddr).Port
	return listener{inner, options, map[string]any{"port": port, "key": key}}, nil
}

func (t transport) Dialer(address string, offer map[string]any, options contract.Options) (contract.Dialer, error) {
	if options.Task == "handshake" || options.Task == "hold" {
		return nil, errors.New("KCP has no handshake")
	}
	if err := check(options); err != nil {
		return nil, err
	}
	key, _ := offer["key"].(string)
	crypt, err := block(key)
	if err != nil {
		return nil, err
	}
	return dialer{t, address, crypt, options}, nil
}

type listener struct {
	inner   *kcp.Listener
	options contract.Options
	offer   map[string]any
}

func (l listener) Offer() map[string]any { return l.offer }

func (l listener) Accept() (contract.Connection, error) {
	session, err := l.inner.AcceptKCP()
	if err != nil {
		return nil, err
	}
	tune(session, l.options)
	return contract.NewSingle(session, stats), nil
}

type dialer struct {
	transport transport
	address   string
	block     kcp.BlockCrypt
	options   contract.Options
}

func (d dialer) Dial() (contract.Connection, error) {
	session, err := kcp.DialWithOptions(d.address, d.block, d.transport.data, d.transport.parity)
	if err != nil {
		return nil, err
	}
	_ = session.SetReadBuffer(socketBuffer)
	_ = session.SetWriteBuffer(socketBuffer)
	tune(session, d.options)
	return contract.NewSingle(session, stats), nil
}

func stats() map[string]any {
	counted := kcp.DefaultSnmp.Copy()
	return map[string]any{
		"packets_sent":         counted.OutPkts,
		"segments_sent":        counted.OutSegs,
		"segments_resent":      counted.RetransSegs,
		"segments_resent_fast": counted.FastRetransSegs,
		"fec_recovered":        counted.FECRecovered,
	}
}
