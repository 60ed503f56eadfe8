package contract

import (
	"errors"
	"io"
	"net"
	"sync"
)

// single is a connection that is one stream and knows no messages.
type single struct {
	inner net.Conn
	stats func() map[string]any
	once  sync.Once
	over  chan struct{}
	taken bool
}

// NewSingle makes a Connection of a net.Conn that is one ordered stream.
func NewSingle(inner net.Conn, stats func() map[string]any) Connection {
	return &single{inner: inner, stats: stats, over: make(chan struct{})}
}

func (c *single) Open() (Stream, error) { return singleStream{c.inner, c}, nil }

func (c *single) Accept() (Stream, error) {
	if c.taken {
		<-c.over
		return nil, io.EOF
	}
	c.taken = true
	return singleStream{c.inner, c}, nil
}

func (c *single) HasMessages() bool { return false }

func (c *single) SendMessage([]byte) error { return errors.ErrUnsupported }

func (c *single) Messages(func([]byte) bool) {}

func (c *single) Stats() map[string]any { return c.stats() }

func (c *single) Close() {
	c.once.Do(func() {
		_ = c.inner.Close()
		close(c.over)
	})
}

type singleStream struct {
	net.Conn
	connection *single
}

func (s singleStream) Finish() error {
	s.connection.Close()
	return nil
}

func (s singleStream) Abandon() {}
