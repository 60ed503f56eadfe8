// Package contract performs the tasks of bench/peers/README.md over any transport that fits the
// interfaces below. It knows no transport.
package contract

import (
	"io"
	"time"
)

// Stream is an ordered, reliable sequence of bytes in both directions.
type Stream interface {
	io.Reader
	io.Writer
	SetReadDeadline(time.Time) error
	SetWriteDeadline(time.Time) error
	// Finish says that nothing more will be written.
	Finish() error
	// Abandon gives up what was not written yet, where the transport can.
	Abandon()
}

// Connection is one connection, of either side.
type Connection interface {
	// Open opens a stream towards the server.
	Open() (Stream, error)
	// Accept waits for the client's next stream; io.EOF when the connection is over.
	Accept() (Stream, error)
	// SendMessage sends a message reliably and without order towards others.
	SendMessage(message []byte) error
	// Messages calls take with every message that comes, in any order, until it returns false.
	Messages(take func(message []byte) bool)
	// HasMessages says whether the two methods above work.
	HasMessages() bool
	// Stats returns counters of the transport by the names of the contract.
	Stats() map[string]any
	Close()
}

// Options are what the command line chose.
type Options struct {
	Congestion string
	Profile    string
	// Task is what the client will do; a server does not know it.
	Task string
}

// Dialer makes connections to one server.
type Dialer interface {
	Dial() (Connection, error)
}

// Listener takes connections.
type Listener interface {
	// Offer is what a client needs to know.
	Offer() map[string]any
	Accept() (Connection, error)
}

// Transport is what a program measures.
type Transport interface {
	Listen(address string, options Options) (Listener, error)
	Dialer(address string, offer map[string]any, options Options) (Dialer, error)
}
