// Feeds the bytes of in.hex to a spiking engine and writes what comes back to out.hex; both sides pause at random.
// RESET_WAIT cycles after byte RESET_AFTER, with no byte in between, the engine is reset.
`ifndef RESET_AFTER
`define RESET_AFTER -1
`define RESET_WAIT 0
`endif
`ifdef VERILATOR
module bench (input clk);
`else
module bench;
  reg clk = 0;
  always #5 clk = ~clk;
`endif
  reg rst = 1;
  reg [7:0] bytes [0:`COUNT-1];
  reg [31:0] lfsr = 32'h1234567;
  integer sent = 0, got = 0, file;
  reg i_valid = 0, o_ready = 0, reset = 0;
  integer waited = 0;
  wire holds = sent + (i_valid && i_ready) == `RESET_AFTER && waited <= `RESET_WAIT;
  wire i_ready, o_valid;
  wire [7:0] o_payload;
  reg [63:0] cycle = 0;
  top dut (.clk(clk), .rst(rst), .reset(reset), .i__valid(i_valid), .i__ready(i_ready), .i__payload(bytes[sent]),
           .o__valid(o_valid), .o__ready(o_ready), .o__payload(o_payload));
  initial begin
    $readmemh("in.hex", bytes);
    file = $fopen("out.hex");
  end
  always @(posedge clk) begin
    cycle <= cycle + 1;
    rst <= cycle < 4;
    lfsr <= (lfsr >> 1) ^ (lfsr[0] ? 32'h80200003 : 0);
    if (!rst) begin
      if (i_valid && i_ready) sent <= sent + 1;
      reset <= sent == `RESET_AFTER && waited == `RESET_WAIT;
      if (sent == `RESET_AFTER && waited <= `RESET_WAIT) waited <= waited + 1;
      i_valid <= !holds && (sent + (i_valid && i_ready) < `COUNT) && ((i_valid && !i_ready) || lfsr[1:0] != 0);
      o_ready <= lfsr[3:2] != 0;
      if (o_valid && o_ready) begin
        $fwrite(file, "%02x\n", o_payload);
        got <= got + 1;
        if (got + 1 == `ANSWERS) begin
          $fclose(file);
          $finish;
        end
      end
    end
    if (cycle == `LIMIT) begin
      $display("no answer: sent %0d of %0d, got %0d of %0d", sent, `COUNT, got, `ANSWERS);
      $fclose(file);
      $finish;
    end
  end
endmodule
