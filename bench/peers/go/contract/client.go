package contract

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"
)

// Request is what a client was asked to do.
type Request struct {
	Seconds  float64
	Count    uint64
	Size     uint64
	Rate     float64
	Pause    float64
	Parallel int
}

type result = map[string]any

var errContent = errors.New("the content is wrong")

func header(task, a, b, c uint64) []byte {
	out := make([]byte, 0, headerSize)
	for _, value := range []uint64{task, a, b, c} {
		out = binary.LittleEndian.AppendUint64(out, value)
	}
	return out
}

// perform connects and does one task; the transport's counters are added to its result.
func perform(dialer Dialer, task string, request Request) (result, error) {
	switch task {
	case "handshake":
		return handshakes(dialer, request)
	case "hold":
		return nil, errors.New("hold is done by main")
	}
	start := now()
	connection, err := dialer.Dial()
	if err != nil {
		return nil, err
	}
	defer connection.Close()
	stream, err := connection.Open()
	if err != nil {
		return nil, err
	}
	var done result
	switch task {
	case "bulk":
		done, err = bulk(stream, start, request)
	case "messages":
		done, err = messages(stream, request)
	case "request":
		done, err = requests(stream, request)
	case "realtime":
		done, err = realtime(connection, stream, request)
	case "response":
		done, err = responses(stream, request)
	default:
		err = fmt.Errorf("no task is called %q", task)
	}
	if err != nil {
		return nil, err
	}
	if stats := connection.Stats(); stats != nil {
		done["stats"] = stats
	}
	return done, nil
}

func bulk(stream Stream, start uint64, request Request) (result, error) {
	duration := uint64(request.Seconds * 1e9)
	end := start + duration
	if _, err := stream.Write(header(taskBulk, start, duration, 0)); err != nil {
		return nil, err
	}
	if err := stream.SetWriteDeadline(time.Now().Add(until(end))); err != nil {
		return nil, err
	}
	for at := uint64(0); now() < end; at += Chunk {
		part := content(at, Chunk)
		if at == 0 {
			part = planted(part)
		}
		if _, err := stream.Write(part); err != nil {
			if isTimeout(err) {
				break
			}
			return nil, err
		}
	}
	stream.Abandon()
	answer := make([]byte, 2*word)
	if err := stream.SetReadDeadline(time.Now().Add(patience)); err != nil {
		return nil, err
	}
	if _, err := io.ReadFull(stream, answer); err != nil {
		return nil, fmt.Errorf("no answer: %w", err)
	}
	if binary.LittleEndian.Uint64(answer[word:]) != 1 {
		return nil, errContent
	}
	return result{"bytes": binary.LittleEndian.Uint64(answer), "seconds": request.Seconds, "ok": true}, nil
}

// growing calls once with more and more until a run takes the time asked for, or once with the
// count asked for.
func growing(request Request, first uint64, once func(count uint64) (float64, error)) (uint64, float64, error) {
	count := request.Count
	if count > 0 {
		seconds, err := once(count)
		return count, seconds, err
	}
	for count = first; ; {
		seconds, err := once(count)
		if err != nil || seconds >= request.Seconds {
			return count, seconds, err
		}
		// As much as the time asked for needs, and some; never more than eightfold.
		factor := 8.0
		if seconds > 0 {
			factor = min(factor, 1.2*request.Seconds/seconds)
		}
		count = max(count+1, uint64(float64(count)*factor))
	}
}

func messages(stream Stream, request Request) (result, error) {
	count, seconds, err := growing(request, 1000, func(count uint64) (float64, error) {
		if _, err := stream.Write(header(taskMessages, count, 0, 0)); err != nil {
			return 0, err
		}
		message := make([]byte, MessageSize)
		began := now()
		for n := range count {
			fillMessage(message, n)
			out := message
			if n == count/2 {
				out = planted(message)
			}
			if _, err := stream.Write(out); err != nil {
				return 0, err
			}
		}
		verdict := make([]byte, word)
		if _, err := io.ReadFull(stream, verdict); err != nil {
			return 0, err
		}
		seconds := float64(now()-began) / 1e9
		if binary.LittleEndian.Uint64(verdict) != 1 {
			return 0, errContent
		}
		return seconds, nil
	})
	return result{"count": count, "seconds": seconds, "ok": true}, err
}

func requests(stream Stream, request Request) (result, error) {
	var latencies []float64
	_, _, err := growing(request, 200, func(count uint64) (float64, error) {
		latencies = make([]float64, 0, count)
		if _, err := stream.Write(header(taskRequest, count, 0, 0)); err != nil {
			return 0, err
		}
		message, answer := make([]byte, MessageSize), make([]byte, MessageSize)
		began := now()
		for n := range count {
			fillMessage(message, n)
			sent := now()
			if _, err := stream.Write(message); err != nil {
				return 0, err
			}
			if _, err := io.ReadFull(stream, answer); err != nil {
				return 0, err
			}
			latencies = append(latencies, float64(now()-sent)/1e3)
			if number, ok := messageNumber(answer); !ok || number != n {
				return 0, errContent
			}
		}
		return float64(now()-began) / 1e9, nil
	})
	return result{"latencies_us": latencies, "ok": true}, err
}

func realtime(connection Connection, stream Stream, request Request) (result, error) {
	interval := uint64(1e9 / request.Rate)
	count := request.Count
	if count == 0 {
		count = max(1, uint64(request.Seconds*request.Rate))
	}
	if _, err := stream.Write(header(taskRealtime, count, interval, 0)); err != nil {
		return nil, err
	}
	send := connection.SendMessage
	if !connection.HasMessages() {
		send = func(message []byte) error {
			_, err := stream.Write(message)
			return err
		}
	}
	message := make([]byte, MessageSize)
	first := now() + interval
	for n := range count {
		binary.LittleEndian.PutUint64(message, n)
		copy(message[2*word:], content(n, MessageSize-2*word))
		sleepUntil(first + n*interval)
		binary.LittleEndian.PutUint64(message[word:], now())
		out := message
		if n == count/2 {
			out = planted(message)
		}
		if err := send(out); err != nil {
			return nil, err
		}
	}
	if _, err := stream.Write([]byte{1}); err != nil {
		return nil, err
	}
	number := make([]byte, word)
	if err := stream.SetReadDeadline(time.Now().Add(patience)); err != nil {
		return nil, err
	}
	if _, err := io.ReadFull(stream, number); err != nil {
		return nil, err
	}
	got := binary.LittleEndian.Uint64(number)
	if got > count {
		return nil, errContent
	}
	taken := make([]byte, word*got)
	if _, err := io.ReadFull(stream, taken); err != nil {
		return nil, err
	}
	out := make([]float64, got)
	for i := range out {
		out[i] = float64(binary.LittleEndian.Uint64(taken[i*word:])) / 1e3
	}
	return result{"delays_us": out, "missing": count - got, "ok": true}, nil
}

func responses(stream Stream, request Request) (result, error) {
	size, pause := request.Size, uint64(request.Pause*1e9)
	if _, err := stream.Write(header(taskResponse, request.Count, size, pause)); err != nil {
		return nil, err
	}
	message, part := make([]byte, MessageSize), make([]byte, Chunk)
	times := make([]float64, 0, request.Count)
	for n := range request.Count {
		fillMessage(message, n)
		sent := now()
		if _, err := stream.Write(message); err != nil {
			return nil, err
		}
		for at := uint64(0); at < size; {
			got, err := stream.Read(part[:min(size-at, Chunk)])
			if !rightContent(part[:got], at) {
				return nil, errContent
			}
			if at += uint64(got); err != nil && at < size {
				return nil, err
			}
		}
		times = append(times, float64(now()-sent)/1e3)
		time.Sleep(time.Duration(pause))
	}
	return result{"times_us": times, "ok": true}, nil
}

// handshake connects, sees one byte come back, and closes.
func handshake(dialer Dialer) error {
	connection, err := dialer.Dial()
	if err != nil {
		return err
	}
	defer connection.Close()
	stream, err := connection.Open()
	if err != nil {
		return err
	}
	if _, err := stream.Write(header(taskHandshake, 0, 0, 0)); err != nil {
		return err
	}
	answer := make([]byte, 1)
	if err := stream.SetReadDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	if _, err := io.ReadFull(stream, answer); err != nil {
		return err
	}
	if answer[0] != hello {
		return errContent
	}
	return nil
}

func handshakes(dialer Dialer, request Request) (result, error) {
	count, seconds, err := growing(request, 20, func(count uint64) (float64, error) {
		var next atomic.Uint64
		var group sync.WaitGroup
		failed := make(chan error, max(1, request.Parallel))
		began := now()
		for range max(1, request.Parallel) {
			group.Go(func() {
				for n := next.Add(1); n <= count; n = next.Add(1) {
					if err := handshake(dialer); err != nil {
						failed <- err
						return
					}
				}
			})
		}
		group.Wait()
		seconds := float64(now()-began) / 1e9
		select {
		case err := <-failed:
			return 0, err
		default:
			return seconds, nil
		}
	})
	return result{"count": count, "seconds": seconds, "ok": true}, err
}

// hold makes connections that say nothing and returns them.
func hold(dialer Dialer, count uint64) ([]Connection, error) {
	held := make([]Connection, 0, count)
	for range count {
		connection, err := dialer.Dial()
		if err != nil {
			return held, fmt.Errorf("after %d: %w", len(held), err)
		}
		held = append(held, connection)
	}
	return held, nil
}
