// A spiking engine whose bytes come from standard input and go to standard output, request by request, as text:
// "bytes-in bytes-out", then the bytes in hexadecimal. The clock runs only while a request is served, and SLACK cycles more.
module bench;
  reg clk = 0, rst = 1;
  reg i_valid = 0, o_ready = 0;
  reg [7:0] i_payload = 0;
  wire i_ready, o_valid;
  wire [7:0] o_payload;
  reg [7:0] data [0:65535];
  integer n_in, n_out, sent, got, waited, n, found, value;
  reg [63:0] cycle;
  top dut (.clk(clk), .rst(rst), .reset(1'b0), .i__valid(i_valid), .i__ready(i_ready), .i__payload(i_payload),
           .o__valid(o_valid), .o__ready(o_ready), .o__payload(o_payload));

  task tick;
    begin
      #4;
      if (i_valid && i_ready) begin
        sent = sent + 1;
        waited = 0;
      end
      if (o_valid && o_ready) begin
        $write("%02x", o_payload);
        got = got + 1;
        waited = 0;
      end
      waited = waited + 1;
      cycle = cycle + 1;
      clk = 1;
      #5 clk = 0;
      #1;
    end
  endtask

  initial begin
    cycle = 0;
    sent = 0;
    got = 0;
    for (n = 0; n < 4; n = n + 1) tick;
    rst = 0;
    found = 2;
    while (found == 2) begin
      found = $fscanf(32'h8000_0000, "%d %d", n_in, n_out);
      if (found == 2) begin
        for (n = 0; n < n_in; n = n + 1) begin
          found = $fscanf(32'h8000_0000, "%h", value) + 1;
          data[n] = value[7:0];
        end
        found = 2;
        sent = 0;
        got = 0;
        waited = 0;
        while ((sent < n_in || got < n_out) && waited < `PATIENCE) begin
          i_valid = sent < n_in;
          i_payload = data[sent < n_in ? sent : 0];
          o_ready = got < n_out;
          tick;
        end
        i_valid = 0;
        o_ready = 0;
        for (n = 0; n < `SLACK; n = n + 1) tick;
        $display(" %0d", cycle);
        $fflush(32'h8000_0001);
      end
    end
    $finish;
  end
endmodule
