package contract

import (
	"bytes"
	"encoding/binary"
)

const (
	// Period is where the pattern repeats.
	Period = 65521
	// Chunk is the most that is written or compared at once.
	Chunk = 256 * 1024
	// MessageSize is the size of every message.
	MessageSize = 64
	word        = 8
)

// table holds the pattern often enough for a Chunk from any place of a period.
var table = makeTable()

func makeTable() []byte {
	t := make([]byte, Period+Chunk)
	for i := range t {
		j := i % Period
		t[i] = byte(j*131 + (j>>8)*7)
	}
	return t
}

// content returns size bytes of the pattern from place at; size is at most Chunk.
func content(at uint64, size int) []byte {
	from := int(at % Period)
	return table[from : from+size]
}

// rightContent says whether data, at most a Chunk, is the pattern from place at.
func rightContent(data []byte, at uint64) bool {
	return bytes.Equal(data, content(at, len(data)))
}

// fillMessage writes message n: its number, then the pattern from n.
func fillMessage(message []byte, n uint64) {
	binary.LittleEndian.PutUint64(message, n)
	copy(message[word:], content(n, len(message)-word))
}

// messageNumber returns the number of a message and whether its body is right.
func messageNumber(message []byte) (uint64, bool) {
	n := binary.LittleEndian.Uint64(message)
	return n, rightContent(message[word:], n)
}
