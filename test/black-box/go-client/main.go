// Sends requests with Go's own HTTP client, and reports the answers that it reads. Registry clients in Go
// (docker, containerd, crane, oras, skopeo) send the whole body, even if the server has answered meanwhile.
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
)

type exchange struct {
	Method  string            `json:"method"`
	URL     string            `json:"url"`
	Headers map[string]string `json:"headers"`
	// Bytes of the body.
	Size int64 `json:"size"`
	// Whether to send the body without Content-Length.
	Chunked bool `json:"chunked"`
	Times   int  `json:"times"`
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// read returns the status once the answer was read to its end, or the error.
func read(e exchange) string {
	body := io.LimitReader(zeros{}, e.Size)
	request, err := http.NewRequest(e.Method, e.URL, io.NopCloser(body))
	if err != nil {
		return err.Error()
	}
	if !e.Chunked {
		request.ContentLength = e.Size
	}
	for name, value := range e.Headers {
		request.Header.Set(name, value)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err.Error()
	}
	defer response.Body.Close()
	if _, err := io.Copy(io.Discard, response.Body); err != nil {
		return fmt.Sprintf("%d, then %v", response.StatusCode, err)
	}
	return fmt.Sprint(response.StatusCode)
}

func main() {
	var exchanges []exchange
	if err := json.NewDecoder(os.Stdin).Decode(&exchanges); err != nil {
		panic(err)
	}
	outcomes := make([]map[string]int, len(exchanges))
	for i, e := range exchanges {
		outcomes[i] = map[string]int{}
		for range e.Times {
			outcomes[i][read(e)]++
		}
	}
	if err := json.NewEncoder(os.Stdout).Encode(outcomes); err != nil {
		panic(err)
	}
}
