package contract

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"
)

const (
	taskBulk = iota + 1
	taskMessages
	taskRequest
	taskRealtime
	taskResponse
	taskHandshake

	headerSize = 4 * word
	// patience is how long the last messages and the last answers may take.
	patience = 10 * time.Second
	// maxCount keeps what a client asks for within memory.
	maxCount = 1 << 27
	hello    = 0x21
)

// fault makes this process flip one byte of the content that it sends, so that a test can see that
// the other end notices.
var fault = os.Getenv("BENCH_PLANT_FAULT") != ""

// planted returns data, or a copy with one byte flipped when a fault is asked for.
func planted(data []byte) []byte {
	if !fault || len(data) == 0 {
		return data
	}
	wrong := append([]byte(nil), data...)
	// Early, so that it arrives however slow the transport is, and not in a message's number.
	wrong[min(len(wrong), MessageSize)-1] ^= 1
	return wrong
}

// serveConnection serves every stream of a connection until the client goes.
func serveConnection(connection Connection) {
	defer connection.Close()
	for {
		stream, err := connection.Accept()
		if err != nil {
			return
		}
		go func() {
			if err := serveStream(connection, stream); err != nil && !errors.Is(err, io.EOF) {
				fmt.Fprintln(os.Stderr, "server:", err)
			}
			_ = stream.Finish()
		}()
	}
}

// serveStream serves task after task until the client has finished.
func serveStream(connection Connection, stream Stream) error {
	header := make([]byte, headerSize)
	for {
		if _, err := io.ReadFull(stream, header); err != nil {
			return io.EOF // Gone between two tasks, by whatever way the transport has.
		}
		task := binary.LittleEndian.Uint64(header)
		a := binary.LittleEndian.Uint64(header[word:])
		b := binary.LittleEndian.Uint64(header[2*word:])
		c := binary.LittleEndian.Uint64(header[3*word:])
		var err error
		switch {
		case task == taskBulk:
			err = takeBulk(stream, a, b)
			if err == nil {
				return io.EOF // What still comes of the content is nobody's.
			}
		case a > maxCount:
			err = fmt.Errorf("task %d asks for %d", task, a)
		case task == taskMessages:
			err = takeMessages(stream, a)
		case task == taskRequest:
			err = takeRequests(stream, a)
		case task == taskRealtime && connection.HasMessages():
			err = takeRealtimeMessages(connection, stream, a)
		case task == taskRealtime:
			err = takeRealtimeStream(stream, a)
		case task == taskResponse && b <= maxCount:
			err = takeResponses(stream, a, b, c)
		case task == taskHandshake:
			err = takeHandshake(stream)
		default:
			err = fmt.Errorf("no task %d", task)
		}
		if err != nil {
			return err
		}
	}
}

func takeBulk(stream Stream, start, duration uint64) error {
	end := start + duration
	buffer := make([]byte, Chunk)
	var count uint64
	right := true
	if err := stream.SetReadDeadline(time.Now().Add(until(end))); err != nil {
		return err
	}
	for {
		n, err := stream.Read(buffer)
		if now() >= end {
			break
		}
		right = right && rightContent(buffer[:n], count)
		count += uint64(n)
		if err != nil {
			if errors.Is(err, io.EOF) || errors.Is(err, os.ErrDeadlineExceeded) || isTimeout(err) {
				break
			}
			return err
		}
	}
	answer := make([]byte, 2*word)
	binary.LittleEndian.PutUint64(answer, count)
	if right {
		binary.LittleEndian.PutUint64(answer[word:], 1)
	}
	if _, err := stream.Write(answer); err != nil {
		return err
	}
	// To close now would take the answer back where unread content is a reason to reset.
	if err := stream.SetReadDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	_, _ = io.Copy(io.Discard, stream)
	return nil
}

func isTimeout(err error) bool {
	var timeout interface{ Timeout() bool }
	return errors.As(err, &timeout) && timeout.Timeout()
}

func takeMessages(stream Stream, count uint64) error {
	buffer := make([]byte, Chunk)
	held := 0
	var next uint64
	right := true
	for next < count {
		// Never past the last message: what follows is another task.
		room := min(uint64(len(buffer)-held), (count-next)*MessageSize-uint64(held))
		n, err := stream.Read(buffer[held : held+int(room)])
		held += n
		at := 0
		for ; held-at >= MessageSize; at += MessageSize {
			number, ok := messageNumber(buffer[at : at+MessageSize])
			right = right && ok && number == next
			next++
		}
		held = copy(buffer, buffer[at:held])
		if err != nil && next < count {
			return err
		}
	}
	return writeVerdict(stream, right)
}

func writeVerdict(stream Stream, right bool) error {
	verdict := make([]byte, word)
	if right {
		verdict[0] = 1
	}
	_, err := stream.Write(verdict)
	return err
}

func takeRequests(stream Stream, count uint64) error {
	message := make([]byte, MessageSize)
	for range count {
		if _, err := io.ReadFull(stream, message); err != nil {
			return err
		}
		if _, err := stream.Write(planted(message)); err != nil {
			return err
		}
	}
	return nil
}

// delays collects the one-way delays of messages that came once and right.
type delays struct {
	lock  sync.Mutex
	seen  []bool
	taken []uint64
	wrong bool
	all   chan struct{}
}

func newDelays(count uint64) *delays {
	return &delays{seen: make([]bool, count), taken: make([]uint64, 0, count), all: make(chan struct{})}
}

// take notes one message and says whether more are to come.
func (d *delays) take(message []byte) bool {
	at := now()
	d.lock.Lock()
	defer d.lock.Unlock()
	if len(message) != MessageSize {
		d.wrong = true
		return true
	}
	n := binary.LittleEndian.Uint64(message)
	if n >= uint64(len(d.seen)) || d.seen[n] || !rightContent(message[2*word:], n) {
		d.wrong = true
		return true
	}
	d.seen[n] = true
	d.taken = append(d.taken, at-binary.LittleEndian.Uint64(message[word:]))
	if len(d.taken) == len(d.seen) {
		close(d.all)
		return false
	}
	return true
}

// answer waits for the client's question and writes what was collected. A wrong message is told by
// a number of delays that cannot be.
func (d *delays) answer(stream Stream) error {
	if _, err := io.ReadFull(stream, make([]byte, 1)); err != nil {
		return err
	}
	select {
	case <-d.all:
	case <-time.After(patience / 2):
	}
	d.lock.Lock()
	defer d.lock.Unlock()
	number := uint64(len(d.taken))
	if d.wrong {
		number = wrongContent
	}
	out := make([]byte, word, word*(1+len(d.taken)))
	binary.LittleEndian.PutUint64(out, number)
	if !d.wrong {
		for _, delay := range d.taken {
			out = binary.LittleEndian.AppendUint64(out, delay)
		}
	}
	_, err := stream.Write(out)
	return err
}

const wrongContent = ^uint64(0)

func takeRealtimeMessages(connection Connection, stream Stream, count uint64) error {
	d := newDelays(count)
	go connection.Messages(d.take)
	return d.answer(stream)
}

func takeRealtimeStream(stream Stream, count uint64) error {
	d := newDelays(count)
	message := make([]byte, MessageSize)
	for range count {
		if _, err := io.ReadFull(stream, message); err != nil {
			return err
		}
		d.take(message)
	}
	return d.answer(stream)
}

func takeResponses(stream Stream, count, size, pause uint64) error {
	message := make([]byte, MessageSize)
	for i := range count {
		if _, err := io.ReadFull(stream, message); err != nil {
			return err
		}
		if n, ok := messageNumber(message); !ok || n != i {
			return fmt.Errorf("request %d is wrong", i)
		}
		for at := uint64(0); at < size; {
			part := content(at, int(min(size-at, Chunk)))
			if at += uint64(len(part)); at == size {
				part = planted(part)
			}
			if _, err := stream.Write(part); err != nil {
				return err
			}
		}
	}
	return nil
}

func takeHandshake(stream Stream) error {
	_, err := stream.Write(planted([]byte{hello}))
	return err
}
